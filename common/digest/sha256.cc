#include "common/digest/sha256.h"

#include <openssl/evp.h>

#include "common/log/check.h"

namespace baton {

Sha256Digest Sha256(absl::string_view bytes) {
  Sha256Digest digest;
  unsigned int size = 0;
  const int ok =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  BATON_CHECK(ok == 1 && size == digest.size()) << "no SHA-256";
  return digest;
}

}  // namespace baton
