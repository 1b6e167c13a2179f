#include "common/rpc/certificate.h"

#include <ctime>
#include <memory>

#include "openssl/pem.h"

#include "common/rpc/openssl_handles.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

BioHandle ReadFrom(absl::string_view text) {
  return BioHandle(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key with a passphrase is refused; OpenSSL would ask the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<CertificateHandle> ParseCertificate(absl::string_view pem) {
  CertificateHandle parsed(PEM_read_bio_X509(ReadFrom(pem).get(), nullptr, nullptr, nullptr));
  if (parsed == nullptr) return absl::InvalidArgumentError("holds no PEM certificate");
  return parsed;
}

std::vector<std::string> UrisOf(const X509* certificate) {
  const NamesHandle names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> uris;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                      static_cast<size_t>(ASN1_STRING_length(uri)));
  }
  return uris;
}

}  // namespace

absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view certificate,
                                                 absl::string_view key) {
  ASSIGN_OR_RETURN(const CertificateHandle parsed, ParseCertificate(certificate));
  const KeyHandle private_key(
      PEM_read_bio_PrivateKey(ReadFrom(key).get(), nullptr, &NoPassphrase, nullptr));
  if (private_key == nullptr) return absl::InvalidArgumentError("the key is no PEM private key");
  if (X509_check_private_key(parsed.get(), private_key.get()) != 1)
    return absl::InvalidArgumentError("the key is that of another certificate");
  CertificateFacts facts;
  facts.uris = UrisOf(parsed.get());
  std::tm ends{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(parsed.get()), &ends) != 1)
    return absl::InvalidArgumentError("the certificate does not say when it ends");
  facts.not_after = absl::FromTM(ends, absl::UTCTimeZone());
  return facts;
}

absl::Status CheckHoldsCertificate(absl::string_view pem) { return ParseCertificate(pem).status(); }

}  // namespace baton
