#include "tools/baton/serve_flags.h"

#include <algorithm>

namespace baton {
namespace {

constexpr absl::string_view kNoPython = "no Python code of a model is ever run";
constexpr absl::string_view kOwnGraphs = "graphs have sizes of their own, nothing is compiled";
constexpr absl::string_view kOneBackend = "the backend chooses its own kernels";
constexpr absl::string_view kOwnLoader = "baton-model-loader reads safetensors in its own way";
constexpr absl::string_view kOwnGroup = "processes are found by flag or registration";
constexpr absl::string_view kNoOffload = "the KV cache is not moved out of the stage's memory";
constexpr absl::string_view kAlways = "that is not a choice here";
constexpr absl::string_view kOwnMetrics = "metrics are those of METRICS.md";
constexpr absl::string_view kNotYet = "there is nothing like it here yet";

constexpr FlagShape kSwitch = FlagShape::kSwitch;
constexpr FlagShape kValue = FlagShape::kValue;
constexpr FlagShape kList = FlagShape::kList;

std::vector<ServeFlag> GatewayFlags() {
  return {
      {"max-num-requests", kValue, kToGateway,
       "sequences at a time, one per choice of each prompt; more are answered 503 (2048)"},
      {"early-refusal-time", kValue, kToGateway,
       "most time for which a key's requests are refused unparsed after the scheduler refused one"},
      {"max-num-requests-per-key", kValue, kToGateway,
       "sequences at a time of one API key; more are answered 429"},
      {"best-priority-per-key", kValue, kToGateway,
       "best (lowest) priority that requests of an API key have; default: 0"},
      {"share-prefix-cache", kSwitch, kToGateway, "API keys share cached prompts; default: no"},
      {"api-key-weight", kList, kToGateway, "shares of the API keys when the service is busy"},
      {"api-key-file", kValue, kToGateway,
       "file of more API keys by their SHA-256, with limits; read again when it changes"},
      {"max-requests-per-minute-per-key", kValue, kToGateway,
       "requests per minute of one API key; more are answered 429"},
      {"max-tokens-per-minute-per-key", kValue, kToGateway,
       "tokens per minute of one API key, of prompts and answers"},
      {"allowed-origins", kValue, kToGateway,
       "sites whose pages may call (CORS): a list, or JSON's [\"...\"]; default: any"},
      {"allowed-methods", kValue, kToGateway, "methods that they may use; default: all"},
      {"allowed-headers", kValue, kToGateway, "headers that they may send; default: all"},
      {"allow-credentials", kSwitch, kToGateway, "they may send cookies; default: no"},
      {"ssl-certfile", kValue, kToGateway,
       "PEM file of the certificate: HTTP through TLS; read again when it changes"},
      {"ssl-keyfile", kValue, kToGateway, "PEM file of its key"},
      {"ssl-ca-certs", kValue, kToGateway, "PEM file of who signs the certificates of clients"},
      {"ssl-cert-reqs", kValue, kToGateway,
       "whether clients need a certificate: 0 no, 1 it may be, 2 yes; default: 0"},
      {"access-log", kValue, kToGateway, "a line per HTTP exchange: none, text or json"},
      {"public-metrics", kSwitch, kToGateway,
       "/metrics on the API's port too; on unless --no-public-metrics"},
      {"max-connections", kValue, kToGateway, "HTTP connections at a time"},
      {"max-body-mib", kValue, kToGateway, "MiB of the largest request"},
      {"max-total-body-mib", kValue, kToGateway, "MiB of all bodies; default: at least 256"},
      {"request-timeout", kValue, kToGateway, "time that one request may take"},
      {"recovery-timeout", kValue, kToGateway,
       "requests wait this long for a process that was lost; default: 30s"},
      {"log-requests", kSwitch, kToGateway, "a log line per request; on unless --no-log-requests"},
      {"sse-keep-alive", kValue, kToGateway,
       "a silent stream writes a comment after this long; default: 15s; 0: never"},
      {"enable-tokenizer-info-endpoint", kSwitch, kToGateway, "serve /tokenizer_info"},
      {"api-key", kList, kToGateway,
       "keys that requests must carry; better: BATON_API_KEY=KEY,KEY"},
      {"reasoning-parser", kValue, kToGateway, "how reasoning is told from the answer"},
      {"reasoning-field", kValue, kToGateway,
       "its name in chat answers: reasoning, reasoning_content or both; default: both"},
      {"tool-call-parser", kValue, kToGateway, "how calls of tools are found in answers"},
      {"enable-auto-tool-choice", kSwitch, kToGateway,
       "the model may choose whether it calls a tool; on unless --no-enable-auto-tool-choice"},
      {"refuse-unkept-strict-tools", kSwitch, kToGateway, "strict functions are kept, or a 400"},
      {"generation-config", kValue, kToGateway,
       "defaults of sampling: auto: generation_config.json; vllm: neutral ones; default: auto"},
      {"max-logprobs", kValue, kToGateway,
       "log-probabilities of a token that a request may ask for; default: 20, which -1 is too"},
      {"max-n", kValue, kToGateway, "choices of a prompt; default: 8"},
      {"max-prompts", kValue, kToGateway, "prompts of a request; default: 64"},
      {"max-sequences", kValue, kToGateway, "prompts times choices; default: 128"},
      {"max-stop-strings", kValue, kToGateway, "strings of stop; default: 4"},
      {"max-messages", kValue, kToGateway, "messages of a conversation; default: 2048"},
      {"max-tools", kValue, kToGateway, "tools of a request; default: 128"},
      {"max-header-bytes", kValue, kToGateway, "bytes of an HTTP header; default: 32768"},
      {"max-header-fields", kValue, kToGateway, "fields of an HTTP header; default: 100"},
      {"enable-force-include-usage", kSwitch, kToGateway,
       "every chunk of a stream tells the usage; default: as its stream_options say"},
      {"chat-template", kValue, kToGateway, "file to use instead of the model's own"},
      {"default-chat-template-kwargs", kValue, kToGateway,
       "JSON: variables for it, unless a request's chat_template_kwargs say otherwise"},
  };
}

std::vector<ServeFlag> GroupFlags() {
  return {
      {"host", kValue, kToSupervisor, "address of the OpenAI API; default: 127.0.0.1"},
      {"port", kValue, kToSupervisor, "its port; default: 8000; 0: any free one"},
      {"grpc-port", kValue, kToSupervisor, "port of the gRPC API; default: 50051; 0: any free one"},
      {"pipeline-parallel-size", kValue, kToSupervisor | kToScheduler,
       "stages, one process each; also -pp; default: 1"},
      {"tensor-parallel-size", kValue, kToSupervisor | kToScheduler | kToStageWorker,
       "ranks of a stage; also -tp; default: 1"},
      {"served-model-name", kList, kToGateway, "names that requests may use; default: MODEL_DIR"},
      {"max-model-len", kValue, kToGateway | kToScheduler,
       "tokens of prompt and answer together: 32768, 32k or 32K; auto: the model's"},
      {"dtype", kValue, kToScheduler, "auto, bfloat16 or float32"},
      {"max-num-batched-tokens", kValue, kToScheduler, "most tokens of one step"},
      {"long-prefill-token-threshold", kValue, kToScheduler, "most tokens of one prompt in a step"},
      {"max-step-time", kValue, kToScheduler,
       "prompts are cut so that a step is predicted to take no longer; default: 0, not"},
      {"max-num-seqs", kValue, kToScheduler, "most sequences that run at a time"},
      {"max-num-queued-reqs", kValue, kToScheduler, "most requests that wait"},
      {"enable-prefix-caching", kSwitch, kToScheduler,
       "share what is computed of equal beginnings; on unless --no-enable-prefix-caching"},
      {"watermark", kValue, kToScheduler, "share of KV blocks kept free when a sequence begins"},
      {"max-num-queued-tokens", kValue, kToScheduler, "most tokens of the requests that wait"},
      {"max-queue-wait", kValue, kToScheduler, "requests that would wait longer are answered 503"},
      {"priority-aging", kValue, kToScheduler, "no priority waits longer than this for a turn"},
      {"max-steps-in-flight", kValue, kToScheduler, "steps between first and last stage at a time"},
      {"lookahead-steps", kValue, kToScheduler, "steps ordered before their tokens are known"},
      {"speculative-config", kValue, kToScheduler,
       "JSON: {\"method\":\"mtp\",\"num_speculative_tokens\":1} guesses tokens with the MTP "
       "module"},
      {"heartbeat-timeout", kValue, kToScheduler, "a stage that is silent for this long is lost"},
      {"reader-stall-timeout", kValue, kToScheduler,
       "a request whose caller takes none of its tokens for this long is cancelled"},
      {"unready-grace", kValue, kToScheduler, "requests wait this long for a complete group"},
      {"num-gpu-blocks-override", kValue, kToScheduler, "KV blocks, instead of what fits"},
  };
}

std::vector<ServeFlag> StageFlags() {
  return {
      {"kv-cache-memory-bytes", kValue, kToStageWorker,
       "bytes of KV cache per stage, e.g. 16GiB (GB: 10^9); default: what --memory-bytes leaves, "
       "on CPUs without it 256MiB"},
      {"memory-bytes", kValue, kToStageWorker,
       "bytes that weights, workspace and KV cache of a stage may take, e.g. 96GiB"},
      {"gpu-memory-utilization", kValue, kToStageWorker,
       "share of each GPU's memory, or of what a CPU's host has free, that a stage may use; "
       "default: 0.9"},
      {"constraint-memory-bytes", kValue, kToStageWorker,
       "bytes that structured output may take on the stage that draws; default: 512MiB"},
      {"step-timeout", kValue, kToStageWorker,
       "longest wait of a step for neighbouring stages; default: 30s, below the scheduler's 60s"},
      {"least-link-rate", kValue, kToStageWorker,
       "bytes a second that links between stages carry at least, e.g. 16MiB: one that takes longer "
       "counts as cut; default: 0: 25 MB over TCP, 1 GB over other transports"},
      {"device", kValue, kToStageWorker, "where stages compute: cpu or cuda; default: cpu"},
      {"disable-custom-all-reduce", kSwitch, kToStageWorker,
       "sums over GPUs go through NCCL; default: no"},
      {"gemm-backend", kValue, kToStageWorker,
       "dense products of many rows on GPUs: own, or cublas (answers then depend on how prompts "
       "are cut); default: own"},
      {"enforce-eager", kSwitch, kToStageWorker,
       "steps on GPUs are launched operation by operation, not as graphs; default: no"},
      {"backend", kValue, kToStageWorker, "kernels: cpu, cuda or reference"},
      {"prompt-attention", kValue, kToStageWorker,
       "form of attention for prompts: expanded (faster on CPUs), absorbed (blocks of answers "
       "serve "
       "later prompts) or auto; default: auto, expanded on CPUs"},
      {"cpu-threads", kValue, kToStageWorker, "threads of a stage, shared by its ranks"},
      {"packed-weights-dir", kValue, kToStageWorker,
       "folder of this user's alone in which weights are kept as the CPU's kernels read them, for "
       "the next start, which checks and maps them; default: they are not kept"},
      {"packed-weights-bytes", kValue, kToStageWorker,
       "bytes that its files may take; default: as long as a fifth of its file system stays free"},
      {"read-threads", kValue, kToModelLoader, "reads of the checkpoint at a time"},
      {"follow-links", kSwitch, kToModelLoader,
       "accept model files that are symbolic links, as in a Hugging Face cache"},
      {"lend-memory", kSwitch, kToModelLoader,
       "stage-workers of this machine copy weights out of the model-loader's memory, which all "
       "processes of the user may trace then; default: yes"},
      {"ucx-transports", kValue, kToStageWorker | kToModelLoader,
       "as UCX_TLS; default: tcp, for a process that is killed can stop shared memory for others"},
      {"ucx-net-devices", kValue, kToStageWorker | kToModelLoader, "as UCX_NET_DEVICES"},
  };
}

// How this command runs the processes.
std::vector<ServeFlag> SupervisorFlags() {
  return {
      {"drain-timeout", kValue,
       kToSupervisor | kToGateway | kToScheduler | kToStageWorker | kToModelLoader,
       "time that running requests get after Ctrl-C or SIGTERM; default: 30s"},
      {"restart", kSwitch, kToSupervisor,
       "start a process again that died or hangs; on unless --no-restart"},
      {"max-restarts", kValue, kToSupervisor,
       "the group ends when one process dies more often within --restart-window; default: 10"},
      {"restart-window", kValue, kToSupervisor, "sliding window of --max-restarts; default: 60s"},
      {"liveness-timeout", kValue, kToSupervisor,
       "a process that does not answer /health/live for this long is killed and started again; "
       "default: 1.5s"},
      {"stage-worker-nice", kValue, kToSupervisor,
       "added to the niceness of stage-workers, so that gateway and scheduler need not wait for "
       "them; default: 5"},
      {"state-file", kValue, kToSupervisor,
       "file to write endpoint, ports and pids to, as JSON, once ready"},
      {"verbose", kSwitch, kToSupervisor, "log of all processes at level debug"},
  };
}

// Flags of vLLM, of old and new releases, that a command for vLLM may carry.
std::vector<ServeFlag> IgnoredFlags() {
  std::vector<ServeFlag> flags;
  const auto add = [&flags](FlagShape shape, absl::string_view reason,
                            const std::vector<absl::string_view>& names) {
    for (const absl::string_view name : names) flags.push_back({name, shape, kIgnored, reason});
  };
  add(kSwitch, kNoPython, {"trust-remote-code"});
  add(kSwitch, "requests give no template of their own; see --chat-template",
      {"trust-request-chat-template"});
  add(kValue, kOwnGraphs,
      {"compilation-config", "optimization-level", "cudagraph-capture-sizes",
       "max-cudagraph-capture-size", "max-seq-len-to-capture", "performance-mode"});
  add(kValue, kOneBackend,
      {"attention-backend", "moe-backend", "linear-backend", "all2all-backend", "block-size"});
  add(kSwitch, kOneBackend, {"numa-bind", "enable-dbo"});
  add(kValue, kOwnLoader,
      {"download-dir", "model-loader-extra-config", "safetensors-load-strategy",
       "safetensors-prefetch-num-threads", "safetensors-prefetch-block-size"});
  add(kValue, "the model is a folder, which has one revision", {"revision", "tokenizer-revision"});
  add(kValue, kOwnGroup,
      {"distributed-executor-backend", "nnodes", "node-rank", "master-addr", "master-port",
       "distributed-timeout-seconds", "data-parallel-size", "data-parallel-size-local",
       "data-parallel-rank", "data-parallel-start-rank", "data-parallel-address",
       "data-parallel-rpc-port", "data-parallel-backend", "api-server-count"});
  add(kSwitch, kOwnGroup,
      {"headless", "disable-frontend-multiprocessing", "data-parallel-hybrid-lb",
       "data-parallel-external-lb"});
  add(kValue, kNoOffload, {"swap-space", "cpu-offload-gb", "kv-offloading-size"});
  add(kSwitch, kAlways,
      {"enable-chunked-prefill", "async-scheduling", "enable-reasoning", "disable-log-stats",
       "enable-prompt-tokens-details", "disable-async-output-proc", "scheduler-reserve-full-isl"});
  add(kSwitch, "use --no-log-requests", {"disable-log-requests"});
  add(kSwitch, "on by default; --no-log-requests turns it off", {"enable-log-requests"});
  add(kSwitch, "/load is always on", {"enable-server-load-tracking"});
  add(kSwitch, "X-Request-Id always comes back", {"enable-request-id-headers"});
  add(kSwitch, "off by default; see --access-log", {"disable-uvicorn-access-log"});
  add(kValue, "there is no access log by default; see --access-log",
      {"disable-access-log-for-endpoints"});
  add(kSwitch, "certificates are always read again when they change", {"enable-ssl-refresh"});
  add(kSwitch, "the gRPC API is always served; see --grpc-port", {"grpc"});
  add(kValue, "the HTTP server has limits of its own",
      {"h11-max-incomplete-event-size", "h11-max-header-count"});
  add(kValue, "use --drain-timeout", {"shutdown-timeout"});
  add(kSwitch, kOwnMetrics,
      {"kv-cache-metrics", "cudagraph-metrics", "enable-mfu-metrics",
       "enable-per-request-metrics"});
  add(kValue, kOwnMetrics, {"kv-cache-metrics-sample", "show-hidden-metrics-for-version"});
  add(kValue, "use --speculative-config", {"speculative-model", "num-speculative-tokens"});
  add(kValue, kOneBackend, {"guided-decoding-backend"});
  add(kValue, kAlways,
      {"scheduling-policy", "num-scheduler-steps", "scheduler-delay-factor", "preemption-mode"});
  add(kValue, "requests say stream_interval", {"stream-interval"});
  add(kValue, "give requests a seed; without one each draws anew", {"seed"});
  add(kSwitch, kNotYet,
      {"enable-expert-parallel", "enable-eplb", "enable-log-outputs", "enable-prompt-adapter"});
  add(kValue, kNotYet,
      {"prefix-caching-hash-algo", "kv-transfer-config", "kv-events-config", "otlp-traces-endpoint",
       "max-log-len", "decode-context-parallel-size", "uvicorn-log-level"});
  return flags;
}

// To leave these out with a warning would change answers, or who may ask.
std::vector<ServeFlag> RefusedFlags() {
  return {
      {"config", kValue, kRefused,
       "flags are read from the command line and the environment, not from a file"},
      {"override-generation-config", kValue, kRefused,
       "change the model's generation_config.json, or see --generation-config; requests may say "
       "other values"},
      {"middleware", kValue, kRefused,
       "it is Python code, which may decide who may ask; put a proxy in front"},
      {"root-path", kValue, kRefused,
       "paths begin at /; a proxy in front must take its prefix away"},
      {"uds", kValue, kRefused, "the API listens on TCP: --host and --port"},
      {"ssl-ciphers", kValue, kRefused, "ciphers are those of the TLS library's own default"},
  };
}

// The values that are taken: fixed_flags.
std::vector<ServeFlag> FixedFlags() {
  return {
      {"tokenizer", kValue, kFixed, "put its tokenizer.json into the model's folder"},
      {"tokenizer-mode", kValue, kFixed, "texts are encoded as tokenizer.json says"},
      {"load-format", kValue, kFixed,
       "weights are read from safetensors; `baton mini-r1` writes random ones"},
      {"quantization", kValue, kFixed, "weights are used as the checkpoint has them"},
      {"kv-cache-dtype", kValue, kFixed, "the KV cache has the type of --dtype"},
      {"hf-overrides", kValue, kFixed, "change config.json"},
      {"rope-scaling", kValue, kFixed, "change rope_scaling in config.json"},
      {"logprobs-mode", kValue, kFixed,
       "log-probabilities are those of the model, before temperature, penalties and filters"},
      {"task", kValue, kFixed, "the models served here generate text"},
      {"chat-template-content-format", kValue, kFixed,
       "templates are given the text of a message's parts"},
  };
}

}  // namespace

const std::vector<ServeFlag>& ServeFlags() {
  static const auto* flags = [] {
    auto* all = new std::vector<ServeFlag>();
    for (const auto& part : {GroupFlags(), StageFlags(), SupervisorFlags(), GatewayFlags(),
                             IgnoredFlags(), RefusedFlags(), FixedFlags()}) {
      all->insert(all->end(), part.begin(), part.end());
    }
    return all;
  }();
  return *flags;
}

const ServeFlag* FindServeFlag(absl::string_view name) {
  if (name == "tp") name = "tensor-parallel-size";
  if (name == "pp") name = "pipeline-parallel-size";
  const auto found = std::find_if(ServeFlags().begin(), ServeFlags().end(),
                                  [name](const ServeFlag& flag) { return flag.name == name; });
  return found == ServeFlags().end() ? nullptr : &*found;
}

std::vector<std::string> MeaningfulServeFlags() {
  std::vector<std::string> names{"help"};
  for (const ServeFlag& flag : ServeFlags())
    if (flag.destinations != kIgnored && flag.destinations < kRefused)
      names.emplace_back(flag.name);
  return names;
}

}  // namespace baton
