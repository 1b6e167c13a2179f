// The body of a request as the parser collects it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "boost/beast/core/buffers_range.hpp"
#include "boost/beast/core/error.hpp"
#include "boost/beast/http/message.hpp"
#include "boost/optional.hpp"

namespace baton::gateway {

// A body for Beast's parser, as its string_body, but memory grows with the bytes that have come:
// string_body takes at the header what Content-Length announces, which costs a client nothing.
struct ReceivedBody {
  using value_type = std::string;

  class reader {
   public:
    template <bool is_request, class Fields>
    reader(boost::beast::http::header<is_request, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<uint64_t>& /*announced*/, boost::beast::error_code& error) {
      error = {};
    }

    // The parser's body_limit bounds the sum.
    template <class Buffers>
    size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      error = {};
      const size_t before = body_.size();
      for (const auto buffer : boost::beast::buffers_range_ref(buffers)) {
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
      }
      return body_.size() - before;
    }

    void finish(boost::beast::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

}  // namespace baton::gateway
