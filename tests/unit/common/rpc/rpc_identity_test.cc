#include "common/rpc/rpc_identity.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"

#include "common/rpc/channel.h"
#include "common/rpc/server_runtime.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "tests/fakes/test_authority.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

class EmptyModelService final : public v1::Loading::Service {
 public:
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse*) override {
    return grpc::Status::OK;
  }
};

class RpcIdentityTest : public ::testing::Test {
 protected:
  RpcIdentityTest()
      : folder_(std::filesystem::path(::testing::TempDir()) /
                absl::StrCat("rpc_identity_", absl::ToUnixNanos(absl::Now()))) {
    std::filesystem::create_directories(folder_);
  }
  ~RpcIdentityTest() override { std::filesystem::remove_all(folder_); }

  // Replaces a file as a mounted Secret is replaced: at once.
  void Write(const std::string& name, const std::string& text) const {
    const std::filesystem::path fresh = folder_ / (name + ".new");
    std::ofstream(fresh) << text;
    std::filesystem::rename(fresh, folder_ / name);
  }

  IdentityFiles Files(const std::string& name) const {
    IdentityFiles files;
    files.certificate = folder_ / (name + ".crt");
    files.key = folder_ / (name + ".key");
    files.ca = folder_ / (name + ".ca");
    files.refresh = absl::Seconds(1);
    return files;
  }

  // `name`'s files hold a certificate of `role` by both names, or by what `names` says.
  void Issue(const fakes::TestAuthority& authority, const std::string& name,
             const std::string& role, const std::string& names = "") const {
    const fakes::KeyedCertificate made = authority.Issue(
        names.empty() ? absl::StrCat("URI:spiffe://baton/", role, ",DNS:", role) : names);
    Write(name + ".key", made.key);
    Write(name + ".crt", made.certificate);
    Write(name + ".ca", authority.certificate());
  }

  // The identity of a process that is `role`, with a certificate that `authority` made for it.
  std::shared_ptr<const RpcIdentity> Make(const fakes::TestAuthority& authority,
                                          const std::string& role) const {
    Issue(authority, role, role);
    absl::StatusOr<std::shared_ptr<const RpcIdentity>> made =
        RpcIdentity::FromFiles(Files(role), role);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *made : nullptr;
  }

  // A model-loader that stage-workers may call.
  std::unique_ptr<ServerRuntime> Serve(std::shared_ptr<const RpcIdentity> identity,
                                       std::vector<AllowedCallers> callers = {
                                           {v1::Loading::service_full_name(), {"stage-worker"}}}) {
    ServerOptions options;
    options.role = "model-loader";
    options.listen_address = "127.0.0.1:0";
    options.identity = std::move(identity);
    options.callers = std::move(callers);
    absl::StatusOr<std::unique_ptr<ServerRuntime>> runtime = ServerRuntime::Create(options);
    EXPECT_TRUE(runtime.ok()) << runtime.status();
    (*runtime)->AddService(&service_);
    EXPECT_TRUE((*runtime)->Start().ok());
    return *std::move(runtime);
  }

  static grpc::Status Call(const ServerRuntime& server, const RpcIdentity& caller,
                           const std::string& wanted_role = "model-loader",
                           absl::Duration patience = absl::Seconds(20)) {
    const std::shared_ptr<grpc::Channel> channel =
        CreateChannel(absl::StrCat("127.0.0.1:", server.grpc_port()), wanted_role, caller);
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + patience));
    v1::GetModelResponse response;
    return v1::Loading::NewStub(channel)->GetModel(&context, {}, &response);
  }

  const std::filesystem::path folder_;
  const fakes::TestAuthority authority_;
  EmptyModelService service_;
};

TEST_F(RpcIdentityTest, AllowedRoleIsServed) {
  const auto server = Serve(Make(authority_, "model-loader"));
  const grpc::Status status = Call(*server, *Make(authority_, "stage-worker"));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(RpcIdentityTest, AnotherRoleIsRefusedByName) {
  const auto server = Serve(Make(authority_, "model-loader"));
  const grpc::Status status = Call(*server, *Make(authority_, "gateway"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("spiffe://baton/gateway"));
  EXPECT_THAT(status.error_message(), HasSubstr("baton.v1.Loading"));
}

TEST_F(RpcIdentityTest, NobodyIsServedWithoutACertificateOfTheAuthority) {
  const auto server = Serve(Make(authority_, "model-loader"));
  EXPECT_EQ(Call(*server, *RpcIdentity::Plaintext()).error_code(), grpc::StatusCode::UNAVAILABLE);
  // The caller trusts the server; the server does not trust the caller.
  const fakes::TestAuthority other;
  Make(other, "stage-worker");
  Write("stage-worker.ca", authority_.certificate());
  const auto stranger = RpcIdentity::FromFiles(Files("stage-worker"), "stage-worker");
  ASSERT_TRUE(stranger.ok()) << stranger.status();
  EXPECT_EQ(Call(*server, **stranger).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RpcIdentityTest, CallerInsistsOnTheRoleThatItWants) {
  const auto server = Serve(Make(authority_, "model-loader"));
  const auto caller = Make(authority_, "stage-worker");
  EXPECT_EQ(Call(*server, *caller, "scheduler").error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Call(*server, *caller, "model-loader").ok());
}

// The DNS name is that of the role, which gRPC's own check would take.
TEST_F(RpcIdentityTest, CallerLooksAtTheUriAndNotAtTheName) {
  auto server_identity = Make(authority_, "model-loader");
  const auto caller = Make(authority_, "stage-worker");
  const auto server = Serve(server_identity);
  ASSERT_TRUE(Call(*server, *caller).ok());
  for (const char* names :
       {"DNS:model-loader,URI:spiffe://elsewhere/model-loader", "DNS:model-loader",
        "DNS:model-loader,URI:spiffe://baton/model-loader,URI:spiffe://baton/scheduler"}) {
    Issue(authority_, "model-loader", "model-loader", names);
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    grpc::Status status;
    do {  // until the server has read its file again
      status = Call(*server, *caller, "model-loader", absl::Seconds(2));
    } while (status.ok() && absl::Now() < deadline);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << names;
    Issue(authority_, "model-loader", "model-loader");
    while (!Call(*server, *caller, "model-loader", absl::Seconds(2)).ok() &&
           absl::Now() < deadline) {
    }
  }
}

TEST_F(RpcIdentityTest, CallerWithoutOneRoleIsRefused) {
  const auto server = Serve(Make(authority_, "model-loader"));
  for (const char* names : {"DNS:stage-worker", "URI:spiffe://elsewhere/stage-worker",
                            "URI:spiffe://baton/stage-worker,URI:spiffe://baton/gateway"}) {
    const auto caller = Make(authority_, "stage-worker");
    ASSERT_TRUE(Call(*server, *caller).ok());
    Issue(authority_, "stage-worker", "stage-worker", names);
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    grpc::Status status;
    do {  // until the caller has read its file again
      status = Call(*server, *caller, "model-loader", absl::Seconds(2));
    } while (status.ok() && absl::Now() < deadline);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << names;
  }
}

TEST_F(RpcIdentityTest, ServiceThatIsNotListedIsNobodys) {
  const auto server =
      Serve(Make(authority_, "model-loader"), {{"baton.v1.Other", {"stage-worker"}}});
  const grpc::Status status = Call(*server, *Make(authority_, "stage-worker"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("nobody may call baton.v1.Loading"));
}

TEST_F(RpcIdentityTest, CallerDoesNotTrustAnotherAuthoritysServer) {
  const fakes::TestAuthority other;
  const auto server = Serve(Make(other, "model-loader"));
  EXPECT_EQ(Call(*server, *Make(authority_, "stage-worker")).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RpcIdentityTest, ReplacedFilesAreUsedWithoutARestart) {
  const auto server = Serve(Make(authority_, "model-loader"));
  const fakes::TestAuthority next;
  const auto caller = Make(next, "stage-worker");
  ASSERT_EQ(Call(*server, *caller).error_code(), grpc::StatusCode::UNAVAILABLE);
  Issue(next, "model-loader", "model-loader");
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  grpc::Status status;
  do {
    status = Call(*server, *caller, "model-loader", absl::Seconds(2));
  } while (!status.ok() && absl::Now() < deadline);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

// What FromFiles says of the files of "stage-worker".
std::string Refusal(const IdentityFiles& files) {
  return std::string(RpcIdentity::FromFiles(files, "stage-worker").status().message());
}

TEST_F(RpcIdentityTest, UnfitFilesAreNamed) {
  Issue(authority_, "a", "stage-worker");
  Issue(authority_, "b", "gateway");
  IdentityFiles files = Files("a");
  ASSERT_EQ(Refusal(files), "");
  files.key = folder_ / "nowhere.key";
  EXPECT_THAT(Refusal(files), HasSubstr("nowhere.key"));
  files.key = Files("b").key;
  EXPECT_THAT(Refusal(files), HasSubstr("another certificate"));
  files.key = files.certificate;
  EXPECT_THAT(Refusal(files), HasSubstr("no PEM private key"));
  files = Files("a");
  files.ca = files.key;
  EXPECT_THAT(Refusal(files), HasSubstr("a.key: holds no PEM certificate"));
  EXPECT_THAT(Refusal(Files("b")), HasSubstr("spiffe://baton/gateway"));
  files = Files("a");
  files.prefix = "spiffe://elsewhere/";
  EXPECT_THAT(Refusal(files), HasSubstr("spiffe://elsewhere/stage-worker"));
  for (const char* prefix : {"urn:baton:", "spiffe://baton", "spiffe:///", ""}) {
    files.prefix = prefix;
    EXPECT_THAT(Refusal(files), HasSubstr("not spiffe://DOMAIN/")) << prefix;
  }
  Issue(authority_, "a", "stage-worker",
        "URI:spiffe://baton/stage-worker,URI:spiffe://baton/gateway");
  EXPECT_THAT(Refusal(Files("a")), HasSubstr("is not a certificate of"));
  const fakes::KeyedCertificate old =
      authority_.Issue("URI:spiffe://baton/stage-worker", absl::Now() - absl::Minutes(1));
  Write("a.crt", old.certificate);
  Write("a.key", old.key);
  EXPECT_THAT(Refusal(Files("a")), HasSubstr("has ended"));
}

}  // namespace
}  // namespace baton
