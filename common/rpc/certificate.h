// What a PEM certificate says, as far as a start-up check needs it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace baton {

struct CertificateFacts {
  std::vector<std::string> uris;  // subjectAltName's URIs
  absl::Time not_after;
};

// Reads the first certificate of the PEM text `certificate` and holds the PEM text `key` against
// it. InvalidArgument if either is not what it should be, or they do not belong together.
absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view certificate,
                                                 absl::string_view key);

// InvalidArgument if the PEM text holds no certificate.
absl::Status CheckHoldsCertificate(absl::string_view pem);

}  // namespace baton
