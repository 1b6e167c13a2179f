#include "tests/fakes/test_authority.h"

#include <cstdlib>
#include <iostream>

#include "absl/time/clock.h"
#include "openssl/pem.h"

#include "common/rpc/openssl_handles.h"

namespace baton::fakes {
namespace {

void Must(bool done, const char* what) {
  if (done) return;
  std::cerr << "OpenSSL cannot " << what << "\n";
  std::abort();
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string Pem(const X509* certificate) {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  Must(PEM_write_bio_X509(bio.get(), certificate) == 1, "write a certificate");
  return TextOf(bio.get());
}

std::string Pem(const EVP_PKEY* key) {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  Must(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
       "write a key");
  return TextOf(bio.get());
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  Must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "add an extension");
  X509_EXTENSION_free(extension);
}

// Without extensions and signature.
CertificateHandle MakeBlank(EVP_PKEY* key, const X509* issuer, const std::string& name,
                            absl::Time not_after) {
  static long serial = 1;
  CertificateHandle made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  ASN1_TIME_set(X509_getm_notAfter(made.get()), absl::ToTimeT(not_after));
  X509_set_pubkey(made.get(), key);
  X509_NAME* subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(made.get(), issuer == nullptr ? subject : X509_get_subject_name(issuer));
  return made;
}

}  // namespace

struct TestAuthority::State {
  KeyHandle key;
  CertificateHandle certificate;
};

TestAuthority::TestAuthority() : state_(std::make_unique<State>()) {
  state_->key.reset(EVP_EC_gen("P-256"));
  Must(state_->key != nullptr, "make a key");
  state_->certificate =
      MakeBlank(state_->key.get(), nullptr, "test authority", absl::FromUnixSeconds(4'000'000'000));
  AddExtension(state_->certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(state_->certificate.get(), NID_key_usage, "critical,keyCertSign");
  Must(X509_sign(state_->certificate.get(), state_->key.get(), EVP_sha256()) != 0, "sign");
}

TestAuthority::~TestAuthority() = default;

std::string TestAuthority::certificate() const { return Pem(state_->certificate.get()); }

KeyedCertificate TestAuthority::Issue(const std::string& names, absl::Time not_after) const {
  const KeyHandle key(EVP_EC_gen("P-256"));
  Must(key != nullptr, "make a key");
  const CertificateHandle made = MakeBlank(key.get(), state_->certificate.get(), "leaf", not_after);
  if (!names.empty()) AddExtension(made.get(), NID_subject_alt_name, names);
  Must(X509_sign(made.get(), state_->key.get(), EVP_sha256()) != 0, "sign");
  return {.certificate = Pem(made.get()), .key = Pem(key.get())};
}

}  // namespace baton::fakes
