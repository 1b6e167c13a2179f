#include "services/gateway/openai/call_constraint.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/text/tool_call_grammar.h"

namespace baton::gateway {
namespace {

using structured::CompileCost;
using structured::CompileLimits;

// The schema of a function that declares none.
constexpr char kNoArguments[] = R"({"type":"object","properties":{}})";
// Of one whose schema is not binding.
constexpr char kAnyArguments[] = R"({"type":"object"})";
// To find out which functions can be bound may take so many times what a constraint may.
constexpr size_t kMostSearches = 2;
// Why a schema is not kept that might be if it were alone.
constexpr char kNoRoom[] =
    "it does not fit beside the other functions into what one constraint may cost";

bool IsStrict(const Json& tool) { return tool["function"].value("strict", Json()) == true; }

// What a call's arguments have to be: an object, whether the schema says so or not.
absl::StatusOr<std::string> SchemaOfArguments(size_t index, const Json& function,
                                              const RequestCaps& caps) {
  const Json* const given = function.contains("parameters") ? &function["parameters"] : nullptr;
  if (given == nullptr || given->is_null()) return std::string(kNoArguments);
  Json schema = *given;
  const Json type = schema.value("type", Json("object"));
  const bool takes_objects =
      type == "object" ||
      (type.is_array() && std::find(type.begin(), type.end(), Json("object")) != type.end());
  if (!takes_objects) {
    return InvalidField(absl::StrCat("tools[", index, "].function.parameters"),
                        "must be the schema of an object: arguments of a call have names");
  }
  schema["type"] = "object";
  std::string text = DumpJson(schema);
  if (text.size() <= static_cast<size_t>(caps.schema_bytes)) return text;
  return InvalidField(
      absl::StrCat("tools[", index, "].function.parameters"),
      absl::StrCat("holds ", text.size(), " bytes of a JSON schema, at most ", caps.schema_bytes,
                   " (", CapFlag(&RequestCaps::schema_bytes), ") are allowed"));
}

// `limits` less `taken`, of which `returned` comes back.
CompileLimits Left(CompileLimits limits, const CompileCost& taken,
                   const CompileCost& returned = {}) {
  const auto update = [](size_t* limit, size_t cost, size_t back) {
    *limit += back;
    *limit -= std::min(*limit, cost);
  };
  update(&limits.text_bytes, taken.text_bytes, returned.text_bytes);
  update(&limits.num_rules, taken.num_rules, returned.num_rules);
  update(&limits.num_nodes, taken.num_nodes, returned.num_nodes);
  update(&limits.work, taken.work, returned.work);
  return limits;
}

bool Exceeds(const CompileCost& cost, const CompileLimits& limits) {
  return cost.text_bytes > limits.text_bytes || cost.num_rules > limits.num_rules ||
         cost.num_nodes > limits.num_nodes || cost.work > limits.work;
}

// The functions that may be called, and which of them are bound to their own schemas.
class OfferedFunctions final {
 public:
  // `validator` must outlive this; `options` without functions.
  OfferedFunctions(const RequestValidator& validator, ToolCallGrammarOptions options)
      : validator_(validator), options_(std::move(options)) {}

  // One that may be called with any object, until it is bound.
  void Add(std::string name) {
    options_.functions.push_back({.name = std::move(name), .schema = kAnyArguments});
  }
  void BindNewest(std::string schema) {
    bound_.push_back(options_.functions.size() - 1);
    options_.functions.back().schema = std::move(schema);
  }
  bool binds() const { return !bound_.empty(); }

  RequestedConstraint Constraint() const { return Requested(ToolCallGrammar(options_)); }

  // Of those that are bound, leaves as many so as compile together.
  void KeepWhatFits(std::vector<UnkeptFunction>* unkept) {
    std::vector<std::pair<size_t, std::string>> wanted;  // index and schema
    for (const size_t index : std::exchange(bound_, {})) {
      wanted.emplace_back(index, std::exchange(options_.functions[index].schema, kAnyArguments));
    }
    std::stable_sort(wanted.begin(), wanted.end(), [](const auto& one, const auto& other) {
      return one.second.size() < other.second.size();
    });
    // Costs add up: of the grammar in which none is bound, and what each takes more than with any
    // object. One that is refused costs only the time to find that out: others may take the half
    // of what it left of that.
    CompileLimits left;
    left.text_bytes =
        std::min(left.text_bytes, static_cast<size_t>(validator_.caps().grammar_bytes));
    size_t may_spend = kMostSearches * left.work;
    CompileCost cost;
    const absl::Status unbound = Check(ToolCallGrammar(options_), left, &cost);
    left = Left(left, cost);
    for (size_t i = 0; i < wanted.size(); ++i) {
      CallableFunction& function = options_.functions[wanted[i].first];
      if (!unbound.ok()) {
        unkept->push_back({function.name, std::string(unbound.message())});
        continue;
      }
      const CompileCost of_any = CostOfCall(wanted[i].first);
      may_spend -= std::min(may_spend, of_any.work);
      function.schema = std::move(wanted[i].second);
      CompileLimits limits = Left(left, {}, of_any);
      limits.work = std::min(limits.work, i + 1 == wanted.size() ? may_spend : may_spend / 2);
      const absl::Status kept = Check(OneCallGrammar(options_, wanted[i].first), limits, &cost);
      may_spend -= std::min(may_spend, cost.work);
      if (kept.ok()) {
        left = Left(left, cost, of_any);
        bound_.push_back(wanted[i].first);
      } else {
        function.schema = kAnyArguments;
        unkept->push_back(
            {function.name, Exceeds(cost, limits) ? kNoRoom : std::string(kept.message())});
      }
    }
  }

 private:
  RequestedConstraint Requested(std::string grammar) const {
    return {
        .field = "tools",
        .constraint = {.kind = structured::ConstraintKind::kGrammar, .text = std::move(grammar)},
        .holds_reasoning = options_.may_reason};
  }

  absl::Status Check(std::string grammar, const CompileLimits& limits, CompileCost* cost) const {
    return validator_.CheckConstraint(Requested(std::move(grammar)), limits, cost);
  }

  // Of a call of this function, with the schema that it has now.
  CompileCost CostOfCall(size_t index) const {
    CompileCost cost;
    return Check(OneCallGrammar(options_, index), {}, &cost).ok() ? cost : CompileCost();
  }

  const RequestValidator& validator_;
  ToolCallGrammarOptions options_;
  std::vector<size_t> bound_;  // indices of functions
};

ToolCallGrammarOptions GrammarOptions(const CallConstraintOptions& options,
                                      const ToolFields& fields, const RequestedParams& params) {
  const ServedModel& model = options.model;
  return {.format = model.tool_calls,
          .parallel = fields.parallel && fields.choice != ToolChoice::kNamed,
          .required = fields.required(),
          .may_reason = !fields.required() && model.LeavesReasoningToModel() &&
                        !options.continues_message && params.thinking_token_budget.value_or(-1) < 0,
          .token_of_tag = [&tokenizer = *model.text.tokenizer](absl::string_view tag) {
            return tokenizer.TokenId(tag);
          }};
}

}  // namespace

absl::StatusOr<std::vector<UnkeptFunction>> ConstrainToCalls(const CallConstraintOptions& options,
                                                             const ToolFields& fields,
                                                             RequestedParams* params) {
  const RequestValidator& validator = options.validator;
  const bool required = fields.required();
  const bool strict = fields.choice == ToolChoice::kAuto &&
                      std::any_of(fields.tools.begin(), fields.tools.end(), IsStrict);
  std::vector<UnkeptFunction> unkept;
  if (!required && !strict) return unkept;
  if (params->constraint) {
    if (!required) return unkept;  // it leaves no place for calls
    return InvalidField("tool_choice",
                        absl::StrCat("requires calls and cannot be given together with ",
                                     params->constraint->field));
  }
  const bool must_keep = required || options.model.refuses_unkept_strict;
  OfferedFunctions offered(validator, GrammarOptions(options, fields, *params));
  for (size_t i = 0; i < fields.tools.size(); ++i) {
    const Json& function = fields.tools[i]["function"];
    if (fields.choice == ToolChoice::kNamed && function["name"] != fields.function) continue;
    const std::string name = function["name"].get<std::string>();
    offered.Add(name);
    if (!required && !IsStrict(fields.tools[i])) continue;
    absl::StatusOr<std::string> schema = SchemaOfArguments(i, function, validator.caps());
    if (schema.ok()) {
      offered.BindNewest(*std::move(schema));
    } else if (must_keep) {
      return schema.status();
    } else {
      unkept.push_back({name, std::string(schema.status().message())});
    }
  }
  if (!must_keep && offered.binds() && !validator.CheckConstraint(offered.Constraint()).ok()) {
    offered.KeepWhatFits(&unkept);
  }
  if (offered.binds()) params->constraint = offered.Constraint();
  return unkept;
}

}  // namespace baton::gateway
