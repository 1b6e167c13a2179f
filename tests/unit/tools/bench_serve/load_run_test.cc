#include "tools/bench_serve/load_run.h"

#include <atomic>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::HasSubstr;

std::string Chunk(absl::string_view text) {
  return absl::StrCat(absl::Hex(text.size()), "\r\n", text, "\r\n");
}

std::string Answer() {
  return absl::StrCat(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
      Chunk("data: {\"choices\": [{\"text\": \"a\"}]}\n\nda"),
      Chunk("ta: {\"choices\": [{\"text\": \"b\"}]}\n\n"),
      Chunk("data: {\"choices\": [], \"usage\": {\"completion_tokens\": 2}}\n\ndata: [DONE]\n\n"),
      "0\r\n\r\n");
}

// Answers every connection with the same bytes, one after the other, on a thread of its own.
class OneAnswerServer {
 public:
  explicit OneAnswerServer(std::string answer) : answer_(std::move(answer)) {
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
    listen(socket_, 64);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~OneAnswerServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }

  int port() const { return port_; }
  int num_requests() const { return num_requests_; }

 private:
  void Serve() {
    for (int fd = 0; (fd = accept(socket_, nullptr, nullptr)) >= 0;) {
      std::string request(65536, '\0');
      size_t size = 0;
      while (request.find("{}") == std::string::npos) {
        const ssize_t n = recv(fd, request.data() + size, request.size() - size, 0);
        if (n <= 0) break;
        size += static_cast<size_t>(n);
      }
      ++num_requests_;
      send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      close(fd);
    }
  }

  const std::string answer_;
  int socket_ = -1;
  int port_ = 0;
  std::atomic<int> num_requests_ = 0;
  std::thread thread_;
};

class LoadRunTest : public testing::Test {
 protected:
  LoadResult Run(int port, size_t num_requests, LoadOptions options = {}) {
    boost::asio::ip::tcp::resolver resolver(context_);
    const HttpTarget target{.endpoints = resolver.resolve("127.0.0.1", std::to_string(port)),
                            .host = "127.0.0.1"};
    if (options.arrivals.empty()) options.arrivals.resize(num_requests);
    const std::vector<LoadRequest> requests(
        num_requests, {.http = {.path = "/v1/completions", .body = "{}"}, .num_prompt_tokens = 3});
    return RunLoad(context_, target, requests, options);
  }

  boost::asio::io_context context_{1};
};

TEST_F(LoadRunTest, TakesEveryAnswer) {
  const OneAnswerServer server(Answer());
  int64_t num_ended = 0;
  const LoadResult result = Run(
      server.port(), 5, {.max_concurrency = 2, .on_progress = [&](int64_t ended, int64_t failed) {
                           num_ended = ended;
                           EXPECT_EQ(failed, 0);
                         }});
  EXPECT_EQ(num_ended, 5);
  EXPECT_EQ(server.num_requests(), 5);
  ASSERT_EQ(result.records.size(), 5);
  for (const RequestRecord& record : result.records) {
    EXPECT_TRUE(record.success) << record.error;
    EXPECT_EQ(record.text, "ab");
    EXPECT_EQ(record.num_output_tokens, 2);
    EXPECT_EQ(record.num_prompt_tokens, 3);
    EXPECT_EQ(record.itls.size(), 1);
    EXPECT_LE(record.start + record.latency, result.duration);
  }
}

TEST_F(LoadRunTest, TimesTheWaitForAPlace) {
  const OneAnswerServer server(Answer());
  const LoadResult result =
      Run(server.port(), 3, {.arrivals = {0, 0, 0.001}, .max_concurrency = 1});
  const auto& records = result.records;
  EXPECT_GE(records[1].queue_time, records[0].latency);
  EXPECT_DOUBLE_EQ(records[1].queue_time, records[1].start);
  EXPECT_DOUBLE_EQ(records[2].queue_time, records[2].start - 0.001);
}

TEST_F(LoadRunTest, SendsNothingBeforeItsTime) {
  const OneAnswerServer server(Answer());
  const LoadResult result = Run(server.port(), 2, {.arrivals = {0, 0.05}});
  EXPECT_GE(result.records[1].start, 0.05);
  EXPECT_TRUE(result.records[1].success);
}

TEST_F(LoadRunTest, KeepsTheReasonOfARefusal) {
  const OneAnswerServer server("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull");
  const LoadResult result = Run(server.port(), 1);
  EXPECT_FALSE(result.records[0].success);
  EXPECT_EQ(result.records[0].error, "full");
}

TEST_F(LoadRunTest, NamesAnAnswerThatBreaksOff) {
  const OneAnswerServer server(Answer().substr(0, 130));
  const LoadResult result = Run(server.port(), 1);
  EXPECT_FALSE(result.records[0].success);
  EXPECT_THAT(result.records[0].error, HasSubstr("broke off"));
}

TEST_F(LoadRunTest, NamesAServerThatIsNotThere) {
  int port = 0;
  {
    const OneAnswerServer gone(Answer());
    port = gone.port();
  }
  const LoadResult result = Run(port, 2);
  EXPECT_THAT(result.records[1].error, HasSubstr("cannot connect"));
}

}  // namespace
}  // namespace baton::bench
