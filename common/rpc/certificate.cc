#include "common/rpc/certificate.h"

#include <ctime>
#include <memory>

#include "common/status/status_macros.h"
#include "openssl/bio.h"
#include "openssl/evp.h"
#include "openssl/pem.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"

namespace baton {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

Bio ReadFrom(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key with a passphrase is refused; OpenSSL would ask the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<Certificate> ParseCertificate(absl::string_view pem) {
  Certificate parsed(PEM_read_bio_X509(ReadFrom(pem).get(), nullptr, nullptr, nullptr));
  if (parsed == nullptr) return absl::InvalidArgumentError("holds no PEM certificate");
  return parsed;
}

std::vector<std::string> UrisOf(const X509* certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(
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
  ASSIGN_OR_RETURN(const Certificate parsed, ParseCertificate(certificate));
  const Key private_key(
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
