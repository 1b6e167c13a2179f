// A plain HTTP GET to a server on this machine, for tests of small endpoints.
#pragma once

#include <string>

namespace baton {

struct HttpReply {
  int code = 0;        // 0: no connection, or no HTTP reply
  std::string header;  // all header lines
  std::string body;
};

// Sends "GET `path`" to 127.0.0.1:`port` and reads until the server closes; at most 30 s.
HttpReply HttpGet(int port, const std::string& path);

}  // namespace baton
