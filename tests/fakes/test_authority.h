// A certificate authority for tests: makes keys and certificates as PEM text, in memory.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "openssl/types.h"

namespace baton::fakes {

struct KeyedCertificate {
  std::string certificate;  // PEM
  std::string key;          // PEM
};

// One thread at a time. Ends the test program if OpenSSL fails.
class TestAuthority final {
 public:
  TestAuthority();
  ~TestAuthority();

  std::string certificate() const;  // the authority's own, PEM

  // A certificate with these names, "URI:spiffe://baton/gateway,DNS:gateway" (none if empty), that
  // is good from an hour ago until `not_after`.
  KeyedCertificate Issue(const std::string& names,
                         absl::Time not_after = absl::FromUnixSeconds(4'000'000'000)) const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace baton::fakes
