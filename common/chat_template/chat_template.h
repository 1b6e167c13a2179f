// Chat templates: the part of Jinja that models' chat templates use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace baton {

// Ceilings on what a template may cost; each is checked while it works.
struct ChatTemplateLimits {
  size_t source_bytes = size_t{1} << 20;
  size_t nesting = 200;                    // blocks and expressions inside one another
  uint64_t steps = 5'000'000;              // nodes evaluated plus 64-byte units of text copied
  size_t output_bytes = size_t{64} << 20;  // of the result and of every value on the way
};

// A compiled template. Renders as Jinja2 does under transformers' settings: trim_blocks,
// lstrip_blocks, the default Undefined, loop controls, `tojson` without HTML escapes,
// `raise_exception`, `strftime_now`. Immutable: Render may run in many threads at once.
class ChatTemplate {
 public:
  // Errors: InvalidArgument with the line for syntax, for a feature outside the subset, and for
  // limits broken.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Create(
      absl::string_view source, const ChatTemplateLimits& limits = {});

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // The template's text for `context`, an object of variables: `messages`, `tools` (leave out when
  // there are none), `bos_token`, `eos_token`, `add_generation_prompt`, and whatever a request's
  // chat_template_kwargs hold. JSON null is None; object keys keep the order they have in the JSON
  // (nlohmann::ordered_json), which is what Jinja shows.
  // Errors: InvalidArgument with the line for what the template or the context does wrong,
  // raise_exception's message included; ResourceExhausted when a limit is reached.
  absl::StatusOr<std::string> Render(const nlohmann::ordered_json& context) const;

 private:
  struct Compiled;
  explicit ChatTemplate(std::unique_ptr<const Compiled> compiled);

  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace baton
