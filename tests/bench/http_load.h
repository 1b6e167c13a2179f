// A client for measuring: one connection to 127.0.0.1, as little work per answer as it takes.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace baton {

// Blocking; a connection that fails ends the program.
class HttpLoadClient final {
 public:
  explicit HttpLoadClient(int port);
  ~HttpLoadClient();
  HttpLoadClient(const HttpLoadClient&) = delete;
  HttpLoadClient& operator=(const HttpLoadClient&) = delete;

  // Sends `request` and returns the head and body of its answer, which has a Content-Length. The
  // text is valid until the next call.
  absl::string_view Exchange(absl::string_view request);
  // Sends `request` and reads a stream of events up to its end; returns the bytes read, 0 if the
  // answer is no stream.
  size_t Stream(absl::string_view request);

 private:
  void SendAll(absl::string_view bytes);
  void ReadMore();

  int socket_;
  std::string received_;
};

}  // namespace baton
