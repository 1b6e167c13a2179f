// What the gateway adds: its own process in front of a scheduler that answers at once.
//
//   gateway_bench [--rates=500,2000] [--rounds=5] [--streams=1,32] [GATEWAY_BINARY...]
//
// Requests per second (0: one after the other on each connection) and streams at a time, for each
// gateway; default: that of this build. Several are measured in turns, so that what else the
// machine does falls on all of them; figures are medians of the rounds. Latency is a whole
// request's, without time to compute anything; "no gateway" is the same call of the stub itself,
// and what is above it was added. Processor time and context switches are the gateway's alone, so
// they mean something on a machine that others use as well.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "grpcpp/grpcpp.h"
#include "nlohmann/json.hpp"

#include "common/model/model_config.h"
#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "tests/bench/http_load.h"
#include "tests/bench/measured_gateway.h"

namespace baton {
namespace {

using Clock = std::chrono::steady_clock;

const std::string kModelDir = BATON_SOURCE_DIR "/tests/data/tiny-r1";
constexpr size_t kClients = 16;
constexpr auto kMeasured = std::chrono::seconds(2);
constexpr uint32_t kStreamTokens = 1000;

// Answers with as many tokens as are asked for, one message each; as the scheduler does, the last
// one goes together with the end.
class StubAnswer final : public grpc::ServerWriteReactor<v1::SubmitResponse> {
 public:
  explicit StubAnswer(uint32_t num_tokens) : num_tokens_(num_tokens) { WriteOne(); }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    WriteOne();
  }
  void OnDone() override { delete this; }

 private:
  ~StubAnswer() override = default;
  void WriteOne() {
    response_.Clear();
    response_.set_sequence_number(num_sent_);
    response_.add_tokens()->set_token_id(100 + num_sent_ % 900);
    if (++num_sent_ < num_tokens_) return StartWrite(&response_);
    response_.set_finish_reason(v1::FINISH_REASON_LENGTH);
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  }

  const uint32_t num_tokens_;
  uint32_t num_sent_ = 0;
  v1::SubmitResponse response_;
};

// Says five times a second that the group is ready.
class StubGroup final : public grpc::ServerWriteReactor<v1::GroupState> {
 public:
  explicit StubGroup(const std::string& fingerprint) {
    state_.set_ready(true);
    state_.set_epoch(1);
    v1::StageState* const stage = state_.add_stages();
    stage->set_phase(v1::STAGE_PHASE_READY);
    stage->set_instance("stub");
    state_.set_num_total_blocks(64);
    state_.set_max_model_len(4096);
    state_.set_model_fingerprint(fingerprint);
    beat_ = std::thread([this] {
      std::unique_lock<std::mutex> lock(mutex_);
      while (!over_) {
        if (!writing_) {
          writing_ = true;
          StartWrite(&state_);
        }
        ended_.wait_for(lock, std::chrono::milliseconds(200), [this] { return over_; });
      }
      lock.unlock();
      Finish(grpc::Status::OK);
    });
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    over_ = over_ || !ok;
    if (over_) ended_.notify_one();
  }
  void OnCancel() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    over_ = true;
    ended_.notify_one();
  }
  void OnDone() override {
    beat_.join();
    delete this;
  }

 private:
  ~StubGroup() override = default;
  v1::GroupState state_;
  std::mutex mutex_;
  bool writing_ = false;
  bool over_ = false;
  std::condition_variable ended_;
  std::thread beat_;
};

class StubScheduler final : public v1::Scheduling::CallbackService {
 public:
  explicit StubScheduler(std::string fingerprint) : fingerprint_(std::move(fingerprint)) {}
  grpc::ServerWriteReactor<v1::SubmitResponse>* Submit(grpc::CallbackServerContext*,
                                                       const v1::SubmitRequest* request) override {
    return new StubAnswer(request->stop().max_tokens());
  }
  grpc::ServerWriteReactor<v1::GroupState>* WatchGroup(grpc::CallbackServerContext*,
                                                       const v1::WatchGroupRequest*) override {
    return new StubGroup(fingerprint_);
  }

 private:
  const std::string fingerprint_;
};

std::string ChatRequest(uint32_t max_tokens, bool stream) {
  const std::string body = nlohmann::json{
      {"messages", {{{"role", "user"}, {"content", "What is 17 + 25?"}}}},
      {"max_tokens", max_tokens},
      {"ignore_eos", true},
      {"stream", stream}}.dump();
  return absl::StrCat(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Content-Length: ",
      body.size(), "\r\n\r\n", body);
}

// Of each kind of figure, one per round.
using Figures = std::map<std::string, std::vector<double>>;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

using Exchange = std::function<void()>;

// `rate` exchanges per second, 0: one after the other on each connection; returns how many.
double MeasureRequests(const std::function<Exchange()>& connect, double rate, Figures* figures) {
  std::mutex mutex;
  std::vector<double> all_us;
  std::vector<Exchange> connections;
  for (size_t i = 0; i < kClients; ++i) connections.push_back(connect());
  const Clock::time_point begin = Clock::now();
  std::vector<std::thread> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      std::vector<double> us;
      Clock::time_point due = begin;
      const auto gap = std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(rate > 0 ? kClients / rate : 0));
      due += gap * static_cast<long>(i) / static_cast<long>(kClients);
      while (Clock::now() - begin < kMeasured) {
        std::this_thread::sleep_until(due);
        const Clock::time_point sent = rate > 0 ? due : Clock::now();
        connections[i]();
        us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - sent).count());
        due += gap;
      }
      const std::lock_guard<std::mutex> lock(mutex);
      all_us.insert(all_us.end(), us.begin(), us.end());
    });
  }
  for (std::thread& client : clients) client.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::sort(all_us.begin(), all_us.end());
  const auto count = static_cast<double>(all_us.size());
  (*figures)["per second"].push_back(count / seconds);
  (*figures)["p50"].push_back(all_us[all_us.size() / 2]);
  (*figures)["p99"].push_back(all_us[all_us.size() * 99 / 100]);
  return count;
}

void MeasureGateway(const MeasuredGateway& gateway, double rate, Figures* figures) {
  const std::string request = ChatRequest(1, false);
  const double cpu = gateway.cpu_seconds();
  const double sleeps = gateway.num_sleeps();
  const auto connect = [&]() -> Exchange {
    return [&request, client = std::make_shared<HttpLoadClient>(gateway.port())] {
      if (!absl::StartsWith(client->Exchange(request), "HTTP/1.1 200")) std::exit(1);
    };
  };
  const double count = MeasureRequests(connect, rate, figures);
  (*figures)["cpu"].push_back((gateway.cpu_seconds() - cpu) * 1e6 / count);
  (*figures)["sleeps"].push_back((gateway.num_sleeps() - sleeps) / count);
}

// What a client of the scheduler itself waits for.
void MeasureStub(int port, double rate, Figures* figures) {
  const std::shared_ptr<v1::Scheduling::Stub> stub = v1::Scheduling::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  const auto connect = [&]() -> Exchange {
    return [stub] {
      v1::SubmitRequest request;
      for (uint32_t i = 0; i < 16; ++i) request.add_prompt_token_ids(100 + i);
      request.mutable_stop()->set_max_tokens(1);
      grpc::ClientContext context;
      const auto reader = stub->Submit(&context, request);
      for (v1::SubmitResponse response; reader->Read(&response);) continue;
      if (!reader->Finish().ok()) std::exit(1);
    };
  };
  MeasureRequests(connect, rate, figures);
}

void MeasureStreams(const MeasuredGateway& gateway, size_t num_streams, Figures* figures) {
  const std::string request = ChatRequest(kStreamTokens, true);
  std::atomic<uint64_t> num_tokens = 0;
  const double cpu = gateway.cpu_seconds();
  const Clock::time_point begin = Clock::now();
  std::vector<std::thread> clients;
  for (size_t i = 0; i < num_streams; ++i) {
    clients.emplace_back([&] {
      HttpLoadClient client(gateway.port());
      while (Clock::now() - begin < kMeasured) {
        if (client.Stream(request) == 0) std::exit(1);
        num_tokens += kStreamTokens;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const double cpu_seconds = gateway.cpu_seconds() - cpu;
  const auto count = static_cast<double>(num_tokens.load());
  (*figures)["per second"].push_back(count / seconds);
  (*figures)["per core"].push_back(count / cpu_seconds);
}

void PrintRequests(const std::string& title, const std::string& who, Figures& figures) {
  std::printf("%-18s %-28s %6.0f /s   p50 %6.0f us   p99 %6.0f us", title.c_str(), who.c_str(),
              Median(figures["per second"]), Median(figures["p50"]), Median(figures["p99"]));
  if (figures.count("cpu") > 0) {
    std::printf("   %4.0f us of processor, %4.1f sleeps a request", Median(figures["cpu"]),
                Median(figures["sleeps"]));
  }
  std::printf("\n");
  std::fflush(stdout);
}

struct BenchOptions {
  std::vector<double> rates = {200, 500, 2000, 0};
  std::vector<double> streams = {1, 32};
  size_t num_rounds = 5;
  std::vector<std::string> binaries;
};

// Who comes first changes with each round: what comes after another finds caches as that left them.
template <typename Measure>
void MeasureInTurns(const BenchOptions& options, const Measure& measure) {
  const size_t count = options.binaries.size();
  for (size_t round = 0; round < options.num_rounds; ++round) {
    for (size_t i = 0; i < count; ++i) measure((round + i) % count);
  }
}

int RunGatewayBench(const BenchOptions& options) {
  const std::vector<std::string>& binaries = options.binaries;
  StubScheduler stub(ModelFingerprint(ReadModelConfigText(kModelDir).value()));
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&stub);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::vector<std::unique_ptr<MeasuredGateway>> gateways;
  for (const std::string& binary : binaries) {
    gateways.push_back(std::make_unique<MeasuredGateway>(binary, kModelDir, port));
  }
  for (const double rate : options.rates) {
    Figures none;
    std::vector<Figures> figures(gateways.size());
    MeasureInTurns(options, [&](size_t i) {
      MeasureGateway(*gateways[i], rate, &figures[i]);
      if (i == 0) MeasureStub(port, rate, &none);
    });
    const std::string title = rate > 0 ? absl::StrCat(rate, " per s") : "one by one";
    PrintRequests(title, "no gateway", none);
    for (size_t i = 0; i < gateways.size(); ++i) PrintRequests(title, binaries[i], figures[i]);
  }
  for (const double streams : options.streams) {
    const auto num_streams = static_cast<size_t>(streams);
    std::vector<Figures> figures(gateways.size());
    MeasureInTurns(options,
                   [&](size_t i) { MeasureStreams(*gateways[i], num_streams, &figures[i]); });
    for (size_t i = 0; i < gateways.size(); ++i) {
      std::printf("%-18s %-28s %7.0f tokens/s   %7.0f tokens/s per core   %3.0f MiB\n",
                  absl::StrCat(num_streams, " streams").c_str(), binaries[i].c_str(),
                  Median(figures[i]["per second"]), Median(figures[i]["per core"]),
                  gateways[i]->resident_mib());
      std::fflush(stdout);
    }
  }
  gateways.clear();
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

std::vector<double> ReadNumbers(absl::string_view list) {
  std::vector<double> numbers;
  for (absl::string_view word : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    double number = 0;
    if (!absl::SimpleAtod(word, &number) || number < 0) {
      std::fprintf(stderr, "gateway_bench: \"%.*s\" is no list of numbers\n",
                   static_cast<int>(list.size()), list.data());
      std::exit(2);
    }
    numbers.push_back(number);
  }
  return numbers;
}

BenchOptions ReadBenchOptions(int argc, char** argv) {
  BenchOptions options;
  for (int i = 1; i < argc; ++i) {
    absl::string_view word = argv[i];
    if (absl::ConsumePrefix(&word, "--rates=")) {
      options.rates = ReadNumbers(word);
    } else if (absl::ConsumePrefix(&word, "--streams=")) {
      options.streams = ReadNumbers(word);
    } else if (absl::ConsumePrefix(&word, "--rounds=")) {
      const std::vector<double> rounds = ReadNumbers(word);
      options.num_rounds = rounds.empty() ? 1 : std::max<size_t>(1, static_cast<size_t>(rounds[0]));
    } else {
      options.binaries.emplace_back(word);
    }
  }
  if (options.binaries.empty())
    options.binaries.emplace_back(BATON_BINARY_DIR "/bin/baton-gateway");
  return options;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  return baton::RunGatewayBench(baton::ReadBenchOptions(argc, argv));
}
