// A plain HTTP/1.1 client for tests: what is sent is under the test's control byte by byte.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace baton {

struct TestHttpResponse {
  int status = 0;
  std::string head;       // status line and headers
  std::string body;       // chunks put together
  bool complete = false;  // the framing says that this is all of the body

  // Value of a header, by its name in any case; empty if absent.
  std::string Header(const std::string& name) const;
  // Payloads of the events in the body, with names or without.
  std::vector<std::string> Events() const;
};

// One connection to 127.0.0.1; closed when destroyed. Every wait ends at the timeout.
class TestHttpClient {
 public:
  // `receive_buffer_bytes`: how much the kernel may hold that has not been read; 0: as it likes.
  explicit TestHttpClient(int port, absl::Duration timeout = absl::Seconds(30),
                          int receive_buffer_bytes = 0);
  ~TestHttpClient();
  TestHttpClient(const TestHttpClient&) = delete;
  TestHttpClient& operator=(const TestHttpClient&) = delete;

  void Send(const std::string& bytes);
  // A request with Host, Content-Length and, for a body, Content-Type: application/json.
  void SendRequest(const std::string& method, const std::string& target,
                   const std::string& body = "", const std::string& more_headers = "");
  // The next response; status 0 if the connection ends before a head.
  TestHttpResponse Receive();
  // Reads until `text` has come; false if the connection ends or the time is over. What was read
  // is kept for Receive.
  bool ReceiveUntil(const std::string& text);
  // Reads `most` bytes or fewer, but one at least, and keeps them; false as above.
  bool ReceiveSome(size_t most);
  // True if the peer ends the connection within the timeout, without sending anything more.
  bool ClosedByPeer();
  void Close();

 private:
  bool ReadMore();
  std::string TakeBody(const std::string& head, bool* complete);
  std::string TakeChunks(bool* complete);

  int socket_ = -1;
  std::string received_;
};

}  // namespace baton
