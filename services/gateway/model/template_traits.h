// What a chat template says of its model, found out by rendering small conversations.
#pragma once

#include "common/chat_template/chat_template.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

struct TemplateTraits {
  bool opens_reasoning = false;        // a prompt for an answer ends inside the reasoning
  bool writes_reasoning_tags = false;  // it opens or closes the reasoning, so the model does not
  bool shows_tools = false;            // the list of tools is part of the prompt
  bool shows_documents = false;        // so are the documents
  // Arguments of earlier calls are to be given as text; else as the JSON value that they are.
  bool takes_argument_text = true;
  ToolCallFormat calls = ToolCallFormat::kNone;  // how it writes calls of earlier turns
};

// `arguments`: an object, variables that the template always gets.
TemplateTraits ProbeTemplate(const ChatTemplate& chat_template, const Json& arguments);

}  // namespace baton::gateway
