// Requests of one connection out of the bytes that come.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/http/parser.hpp"
#include "boost/system/error_code.hpp"

#include "services/gateway/http/body_budget.h"
#include "services/gateway/http/http_limits.h"
#include "services/gateway/http/http_message.h"
#include "services/gateway/http/received_body.h"

namespace baton::gateway {

// Not thread-safe. One request at a time; bytes behind it wait.
class RequestReader final {
 public:
  enum class Stage {
    kIdle,      // nothing of a request has come
    kHeader,    // its header is not complete
    kBody,      // its header is complete and sound, its body is not complete
    kComplete,  // TakeRequest gives it
    kRefused,   // it is wrong, or too large: problem()
  };
  struct Problem {
    int status = 400;
    std::string message;
  };

  // `limits` must outlive this. Bodies have their bytes of `bodies`.
  RequestReader(const HttpLimits& limits, std::shared_ptr<BodyBudget> bodies)
      : limits_(limits), bodies_(std::move(bodies)) {}

  // Room for bytes; the first `num_bytes` of it have come.
  boost::asio::mutable_buffer Prepare(size_t num_bytes) { return buffer_.prepare(num_bytes); }
  void Commit(size_t num_bytes) { buffer_.commit(num_bytes); }
  // That have come and are not read yet.
  size_t num_unread() const { return buffer_.size(); }
  void DropUnread() { buffer_.clear(); }
  // Gives memory back, if nothing is unread.
  void Shrink();

  // Reads on as far as bytes have come, but of a body nothing with its header: it returns kBody
  // first, for the caller to say DropBody, and has to be called again if any are unread. Not in
  // kComplete, nor in kRefused.
  Stage Advance();
  Stage stage() const { return stage_; }

  // In kRefused.
  const Problem& problem() const { return problem_; }
  // Method, path, request id and origin, as far as they were read; of a line that is too long, or
  // did not come to its end, only that it says HEAD, whose answer has no body.
  HttpRequest Known() const;
  // What its header says. In kBody.
  const HttpRequest& header() const { return header_; }
  // On whose account the body is (BodyHold). In kBody, before Advance reads any of it.
  void HoldBodyFor(std::string caller) {
    parser_->get().body().hold = BodyHold(bodies_, std::move(caller));
  }
  // From kBody on.
  bool keep_alive() const { return keep_alive_; }
  bool http_1_0() const { return http_1_0_; }
  // The client sends its body once it is told 100.
  bool awaits_continue() const { return awaits_continue_; }
  // Of the body, so far. In kBody.
  size_t num_body_bytes() const { return parser_->get().body().num_received; }
  // Frees what has come of the body; what comes is counted and dropped. Nothing if there is none.
  void DropBody() {
    if (parser_) parser_->get().body().Drop();
  }
  // In kComplete, as of now; kIdle afterwards. Nothing of a trailer is in it.
  HttpRequest TakeRequest();

 private:
  using Parser = boost::beast::http::request_parser<ReceivedBody>;

  bool Begin();
  // False: it is refused; so below.
  bool CheckHeader();
  // What comes behind the last chunk.
  bool CheckTrailer();
  // Between chunks the parser waits for the end of a line, or of the whole trailer, without a
  // limit.
  void CheckUnread();
  bool Refuse(int status, absl::string_view message);
  // "`what`: at most `most` `unit`", where the unit names the limit's flag.
  bool RefuseOverLimit(int status, absl::string_view what, size_t most, absl::string_view unit);
  void RefuseUnparsable(const boost::system::error_code& error);
  size_t num_fields() const;

  const HttpLimits& limits_;
  const std::shared_ptr<BodyBudget> bodies_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;  // null: kIdle
  Stage stage_ = Stage::kIdle;
  Problem problem_;
  HttpRequest header_;  // what it says; from kBody on
  size_t num_header_fields_ = 0;
  bool keep_alive_ = true;
  bool http_1_0_ = false;
  bool awaits_continue_ = false;
};

}  // namespace baton::gateway
