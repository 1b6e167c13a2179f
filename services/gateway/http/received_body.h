// The body of a request as the parser collects it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "boost/beast/core/buffers_range.hpp"
#include "boost/beast/core/error.hpp"
#include "boost/beast/http/message.hpp"
#include "boost/optional.hpp"

#include "services/gateway/http/body_budget.h"

namespace baton::gateway {

// A body for Beast's parser, as its string_body, but memory grows with the bytes that have come:
// string_body takes at the header what Content-Length announces, which costs a client nothing.
struct ReceivedBody {
  struct value_type {
    std::string text;
    BodyHold hold;            // of the text's bytes; to be set before the first comes
    bool dropped = false;     // as it comes: the text stays as it is
    size_t num_received = 0;  // bytes, whatever became of them

    // Frees what has come; more is counted and dropped.
    void Drop() {
      std::string().swap(text);
      hold.Release();
      dropped = true;
    }
  };
  // Of bytes for which the budget has no room.
  static boost::beast::error_code NoRoom() {
    return make_error_code(boost::system::errc::not_enough_memory);
  }

  class reader {
   public:
    template <bool is_request, class Fields>
    reader(boost::beast::http::header<is_request, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<uint64_t>& /*announced*/, boost::beast::error_code& error) {
      error = {};
    }

    // The parser's body_limit bounds the sum. Error: NoRoom.
    template <class Buffers>
    size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      error = {};
      size_t num_bytes = 0;
      for (const auto buffer : boost::beast::buffers_range_ref(buffers)) {
        if (!body_.dropped) {
          if (!body_.hold.Grow(buffer.size())) {
            error = NoRoom();
            break;
          }
          body_.text.append(static_cast<const char*>(buffer.data()), buffer.size());
        }
        num_bytes += buffer.size();
      }
      body_.num_received += num_bytes;
      return num_bytes;
    }

    void finish(boost::beast::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

}  // namespace baton::gateway
