// Answers HTTP GETs with small documents: what an operator's tools ask of a process. One thread,
// event driven; no keep-alive, no request bodies, no TLS.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

struct SmallHttpReply {
  int code = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class SmallHttpServer {
 public:
  // `answer` gets the path without its query; called on the server's thread, it must not block.
  using Answer = std::function<SmallHttpReply(const std::string& path)>;

  // Binds `address` ("127.0.0.1:9092"; port 0: any free one; empty host: every interface) and
  // serves until destroyed. Limits: 32 connections, 8 KiB of request, 5 s per connection. Errors:
  // InvalidArgument (not host:port with a numeric host or "localhost"), Unavailable (cannot be
  // bound; names the address).
  static absl::StatusOr<std::unique_ptr<SmallHttpServer>> Create(const std::string& address,
                                                                 Answer answer);
  virtual ~SmallHttpServer() = default;

  virtual int port() const = 0;
};

}  // namespace baton
