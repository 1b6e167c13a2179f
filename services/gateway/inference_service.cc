#include "services/gateway/inference_service.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/rpc/status_conversion.h"
#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/inference_call.h"
#include "services/gateway/calls/inference_request.h"

namespace baton::gateway {

namespace {

constexpr int kMaxAbortedIds = 1024;

absl::Status FillTokens(const GatewayContext& context, const v1::TokenizeRequest& request,
                        v1::TokenizeResponse* response) {
  ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens, EncodeTokenizeRequest(context, request));
  response->mutable_token_ids()->Add(tokens.begin(), tokens.end());
  response->set_max_model_len(static_cast<uint32_t>(context.validator.max_model_len()));
  return absl::OkStatus();
}

absl::Status FillText(const GatewayContext& context, const v1::DetokenizeRequest& request,
                      v1::DetokenizeResponse* response) {
  ASSIGN_OR_RETURN(std::string text, DecodeDetokenizeRequest(context, request));
  response->set_text(std::move(text));
  return absl::OkStatus();
}

absl::Status FillModelInfo(const GatewayContext& context, const v1::GetModelInfoRequest&,
                           v1::GetModelInfoResponse* response) {
  response->set_model(context.model.names.front());
  response->set_max_model_len(static_cast<uint32_t>(context.validator.max_model_len()));
  response->set_vocab_size(static_cast<uint32_t>(context.validator.vocab_size()));
  response->set_architecture(context.model.config.architecture);
  return absl::OkStatus();
}

struct TextWork {
  size_t num_bytes = 0;  // of the request
  bool limited = true;   // it is one of its key's requests per minute that generate nothing
  // Makes the answer, on any thread; what it refers to lives until OnDone.
  std::function<absl::Status()> fill;
};

// Answers a short request on the loop, a long one by the text worker, as /tokenize does: gRPC's
// threads do no work of a request's size. One whose client goes, or whose deadline passes, while it
// waits for the worker leaves the queue then. Deletes itself on the loop after OnDone.
class TextReactor final : public grpc::ServerUnaryReactor {
 public:
  // `server_context` lives until OnDone.
  TextReactor(const GatewayContext& context, grpc::CallbackServerContext* server_context,
              TextWork work)
      : context_(context), server_context_(server_context), work_(std::move(work)) {
    context_.loop.Post([this] { Start(); });
  }

  // gRPC tells of a deadline so too.
  void OnCancel() override {
    context_.loop.Post([this] {
      // What the worker is at, it finishes.
      if (job_ && context_.text_queue.Remove(*job_)) Finish(Gone());
    });
  }
  // Nothing is posted after this: the loop runs it last.
  void OnDone() override {
    context_.loop.Post([this] { delete this; });
  }

 private:
  static grpc::Status Gone() { return {grpc::StatusCode::CANCELLED, "the client is gone"}; }

  void Start() {
    if (server_context_->IsCancelled()) return Finish(Gone());  // its key pays nothing
    const absl::StatusOr<ApiCaller> caller = IdentifyCaller(context_.api_keys, *server_context_);
    if (!caller.ok()) return Finish(ToGrpcStatus(caller.status()));
    if (work_.limited) {
      const absl::Status taken =
          context_.rate_limits.TakeTextRequest(*caller, context_.rate_clock());
      if (!taken.ok()) return Finish(ToGrpcStatus(taken));
    }
    if (work_.num_bytes <= TextQueue::kShortBodyBytes) return Answer();
    const auto queued =
        context_.text_queue.Post(caller->name, work_.num_bytes, [this] { Answer(); });
    if (!queued.ok()) {
      if (work_.limited) {
        context_.rate_limits.GiveBackTextRequest(*caller, queued.status(), context_.rate_clock());
      }
      return Finish(ToGrpcStatus(queued.status()));
    }
    job_ = *queued;
  }
  void Answer() { Finish(server_context_->IsCancelled() ? Gone() : ToGrpcStatus(work_.fill())); }

  const GatewayContext& context_;
  grpc::CallbackServerContext* const server_context_;
  const TextWork work_;
  std::optional<uint64_t> job_;  // the loop's: its name in the queue
};

template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerOverText(const GatewayContext& context,
                                         grpc::CallbackServerContext* server_context,
                                         absl::Status (*fill)(const GatewayContext&, const Request&,
                                                              Response*),
                                         const Request* request, Response* response) {
  return new TextReactor(
      context, server_context,
      {.num_bytes = request->ByteSizeLong(),
       .fill = [&context, fill, request, response] { return fill(context, *request, response); }});
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* server_context,
                                                     const v1::GenerateRequest* request,
                                                     v1::GenerateResponse* response) {
  return new WholeInference(context_, server_context, request, response);  // deletes itself
}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::GenerateStream(
    grpc::CallbackServerContext* server_context, const v1::GenerateRequest* request) {
  return new StreamedInference(context_, server_context, request);  // deletes itself
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* server_context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  return AnswerOverText(context_, server_context, FillTokens, request, response);
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* server_context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  return AnswerOverText(context_, server_context, FillText, request, response);
}

grpc::ServerUnaryReactor* InferenceService::GetModelInfo(
    grpc::CallbackServerContext* server_context, const v1::GetModelInfoRequest* request,
    v1::GetModelInfoResponse* response) {
  return new TextReactor(context_, server_context,
                         {.limited = false, .fill = [this, request, response] {
                            return FillModelInfo(context_, *request, response);
                          }});
}

grpc::ServerUnaryReactor* InferenceService::Abort(grpc::CallbackServerContext* server_context,
                                                  const v1::AbortRequest* request,
                                                  v1::AbortResponse* response) {
  grpc::ServerUnaryReactor* const reactor = server_context->DefaultReactor();
  const auto caller = IdentifyCaller(context_.api_keys, *server_context);
  if (!caller.ok()) {
    reactor->Finish(ToGrpcStatus(caller.status()));
    return reactor;
  }
  if (request->request_ids_size() > kMaxAbortedIds) {
    reactor->Finish(ToGrpcStatus(
        InvalidField("request_ids", absl::StrCat("holds more than ", kMaxAbortedIds, " names"))));
    return reactor;
  }
  // Request and response live until Finish.
  context_.loop.Post([this, reactor, request, response, name = caller->name] {
    size_t num_aborted = 0;
    for (const std::string& id : request->request_ids()) {
      num_aborted += context_.live_requests.Abort(name, id);
    }
    response->set_num_aborted(static_cast<uint32_t>(num_aborted));
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

}  // namespace baton::gateway
