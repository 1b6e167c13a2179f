#include "services/model_loader/loader_server.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::loader {
namespace {

constexpr int kCacheSamples = 4096;

// ", 12 % of it in memory", or nothing if the storage does not tell.
std::string CachedText(const ServedModel& model) {
  const absl::StatusOr<double> share = model.checkpoint->folder().CachedShare(kCacheSamples);
  return share.ok() ? absl::StrFormat(", %.0f %% of it in this machine's page cache", 100 * *share)
                    : "";
}

}  // namespace

LoaderServer::LoaderServer(const LoaderConfig& config, ServerRuntime* runtime, ServedModel model)
    : runtime_(*runtime),
      model_(std::move(model)),
      metrics_(runtime->registry().get()),
      loads_(config.max_concurrent_loads) {}

absl::StatusOr<std::unique_ptr<LoaderServer>> LoaderServer::Create(const LoaderConfig& config,
                                                                   ServerRuntime* runtime) {
  ASSIGN_OR_RETURN(ServedModel model, OpenServedModel(config.folder, config.reader));
  const Checkpoint& checkpoint = *model.checkpoint;
  BATON_LOG(INFO) << absl::StreamFormat(
      "%s: %d tensors, %.2f GB, %d layers and %d MTP module(s), %s", config.folder.path,
      checkpoint.tensors().size(), static_cast<double>(checkpoint.total_bytes()) / 1e9,
      model.config.num_layers, model.config.num_mtp_layers,
      model.config.fp8_weights ? "FP8" : "BF16");
  BATON_LOG(INFO) << config.folder.path << " lies on " << config.storage << CachedText(model)
                  << "; " << config.reader.num_threads << " reads at a time of "
                  << (config.reader.buffer_bytes >> 20) << " MiB";
  std::unique_ptr<LoaderServer> server(new LoaderServer(config, runtime, std::move(model)));
  const Checkpoint& files = *server->model_.checkpoint;
  server->metrics_.SetModel(files.total_bytes(), files.tensors().size(),
                            files.folder().num_files());
  ASSIGN_OR_RETURN(server->reader_, RangeReader::Create(config.reader, &files.folder()));
  ASSIGN_OR_RETURN(server->transport_, Transport::Create(config.transport));
  LoadResources resources;
  resources.model = &server->model_;
  resources.reader = server->reader_.get();
  resources.transport = server->transport_.get();
  resources.loads = &server->loads_;
  resources.metrics = &server->metrics_;
  resources.options = config.load;
  server->service_ = std::make_unique<LoadingService>(resources);
  runtime->AddService(server->service_.get());
  return server;
}

absl::Status LoaderServer::Run() {
  RETURN_IF_ERROR(runtime_.Start());
  runtime_.SetReady(true);
  return runtime_.RunUntilShutdown([this](absl::Time deadline) { service_->Drain(deadline); });
}

}  // namespace baton::loader
