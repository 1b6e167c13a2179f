// The endpoints that API.md lists against the server: every row is asked for.
#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/calls/api_router.h"
#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::IsEmpty;

struct Row {
  std::set<std::string> endpoints;  // "POST /v1/completions"
  std::string becomes;              // "works" or "404"
};

// The rows of the first table of API.md. A cell is a list of methods and paths in backticks.
std::vector<Row> DocumentedRows() {
  std::ifstream file(std::string(BATON_SOURCE_DIR) + "/services/gateway/API.md");
  const std::regex cell(R"re(`((?:GET|POST) /[^` ]*)`)re");
  std::vector<Row> rows;
  bool in_table = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) in_table = line == "## Endpoints";
    if (!in_table || !line.starts_with("| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, " | ");
    Row row{.becomes = cells.size() > 1 ? cells[1] : ""};
    std::vector<std::string> listed;
    for (auto found = std::sregex_iterator(cells[0].begin(), cells[0].end(), cell);
         found != std::sregex_iterator(); ++found) {
      listed.push_back((*found)[0]);
      row.endpoints.insert((*found)[1]);
    }
    EXPECT_EQ(cells[0], absl::StrCat("| ", absl::StrJoin(listed, ", ")))
        << "not a list of endpoints";
    rows.push_back(std::move(row));
  }
  return rows;
}

// vLLM's, as far as they are there without its developer's mode, and its own caches' and sleep's.
constexpr const char* kOfVllm[] = {
    "POST /v1/chat/completions",
    "POST /v1/chat/completions/batch",
    "POST /v1/completions",
    "POST /v1/responses",
    "GET /v1/responses/{id}",
    "POST /v1/responses/{id}/cancel",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "GET /v1/models",
    "POST /tokenize",
    "POST /detokenize",
    "GET /tokenizer_info",
    "GET /health",
    "GET /ping",
    "POST /ping",
    "GET /version",
    "GET /metrics",
    "GET /load",
    "POST /invocations",
    "POST /v1/load_lora_adapter",
    "POST /v1/unload_lora_adapter",
    "POST /v1/chat/completions/render",
    "POST /v1/completions/render",
    "POST /v1/chat/completions/derender",
    "POST /v1/completions/derender",
    "POST /inference/v1/generate",
    "POST /abort_requests",
    "POST /generative_scoring",
    "POST /v1/embeddings",
    "POST /v2/embed",
    "POST /pooling",
    "POST /classify",
    "POST /score",
    "POST /v1/score",
    "POST /rerank",
    "POST /v1/rerank",
    "POST /v2/rerank",
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "GET /v1/realtime",
    "POST /cohere/v2/chat",
    "POST /scale_elastic_ep",
    "POST /is_scaling_elastic_ep",
    "POST /fault_tolerance/apply",
    "GET /fault_tolerance/status",
    "POST /start_profile",
    "POST /stop_profile",
    "POST /sleep",
    "POST /wake_up",
    "GET /is_sleeping",
    "POST /pause",
    "POST /resume",
    "GET /is_paused",
    "POST /reset_prefix_cache",
    "POST /reset_mm_cache",
    "POST /reset_encoder_cache",
    "POST /collective_rpc",
    "GET /server_info",
    "POST /init_weight_transfer_engine",
    "POST /update_weights",
    "GET /get_world_size",
    "GET /ready",
    "GET /readyz",
    "GET /docs",
    "GET /redoc",
    "GET /openapi.json",
};

class DocumentedEndpointsContract : public GatewayFixture {
 protected:
  void SetUp() override {
    GatewayFixture::SetUp();
    StartGateway([](GatewayConfig& config) { config.tokenizer_info = true; });
    AwaitReady(200);
  }
  int StatusOf(const std::string& endpoint) {
    const std::vector<std::string> parts = absl::StrSplit(endpoint, ' ');
    const std::string path = absl::StrReplaceAll(parts[1], {{"{model}", "tiny-r1"}, {"{id}", "x"}});
    return parts[0] == "GET" ? Get(path).status : PostText(path, "{}").status;
  }
};

// Every method and path that the router knows but HEAD, which goes with each GET.
std::set<std::string> ServedEndpoints() {
  std::set<std::string> endpoints;
  for (const ServedRoute& route : ServedRoutes()) {
    for (const absl::string_view method : absl::StrSplit(route.methods, ", ")) {
      if (method != "HEAD") endpoints.insert(absl::StrCat(method, " ", route.path));
    }
  }
  return endpoints;
}

std::set<std::string> Documented(const std::string& becomes) {
  std::set<std::string> endpoints;
  for (const Row& row : DocumentedRows()) {
    if (row.becomes == becomes) endpoints.insert(row.endpoints.begin(), row.endpoints.end());
  }
  return endpoints;
}

TEST_F(DocumentedEndpointsContract, RowsAreWhatTheServerDoes) {
  const std::vector<Row> rows = DocumentedRows();
  ASSERT_GT(rows.size(), 20u);
  for (const Row& row : rows) {
    for (const std::string& endpoint : row.endpoints) {
      const int status = StatusOf(endpoint);
      if (row.becomes == "works") {
        // An empty body is refused by what wants one; a GET has nothing that could be wrong.
        const bool may_refuse = endpoint.starts_with("POST ");
        EXPECT_TRUE(status == 200 || (may_refuse && status == 400)) << endpoint << ": " << status;
      } else {
        ASSERT_EQ(row.becomes, "404") << endpoint;
        EXPECT_EQ(status, 404) << endpoint;
      }
    }
  }
}

TEST_F(DocumentedEndpointsContract, EveryRouteHasARow) {
  EXPECT_EQ(Documented("works"), ServedEndpoints());
}

TEST_F(DocumentedEndpointsContract, EveryEndpointOfVllmHasARow) {
  std::set<std::string> rows = Documented("works");
  rows.merge(Documented("404"));
  std::vector<std::string> missing;
  for (const char* endpoint : kOfVllm) {
    if (!rows.contains(endpoint)) missing.push_back(endpoint);
  }
  EXPECT_THAT(missing, IsEmpty());
}

TEST_F(DocumentedEndpointsContract, TheOpenApiDocumentHasEveryRouteButThePages) {
  const json document = json::parse(Get("/openapi.json").body);
  EXPECT_EQ(document["openapi"], "3.1.0");
  std::set<std::string> described = {"GET /", "GET /docs", "GET /openapi.json"};
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      described.insert(absl::StrCat(absl::AsciiStrToUpper(method), " ", path));
    }
  }
  EXPECT_EQ(described, ServedEndpoints());
  const json& answers = document["paths"]["/v1/responses"]["post"]["responses"]["200"]["content"];
  EXPECT_EQ(answers["text/event-stream"]["schema"]["required"], json({"data"})) << "of each event";
}

// All matches of a pattern in a text.
std::vector<std::smatch> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return {std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()};
}

// What a source file calls its readers of the whole body: taken by reference, or made over `json`.
// Readers of a member of the body are made over where a pointer leads. Fails if there are others.
std::set<std::string> ReadersOfBody(const std::string& source, const std::string& path) {
  std::set<std::string> readers;
  for (const std::smatch& match :
       Matches(source, R"re(\bFieldReader\b(?:& (\w+)[,)]| (\w+)\(json\);| \w+\(\*\w+\);)?)re")) {
    EXPECT_NE(match.str(), "FieldReader")
        << path
        << ": a reader whose use this test does not see: " << match.suffix().str().substr(0, 40);
    if (match[1].matched) readers.insert(match[1]);
    if (match[2].matched) readers.insert(match[2]);
  }
  EXPECT_FALSE(readers.empty()) << path;
  return readers;
}

// Names that a source file reads out of a body. Whether the parsers take what the schemas say, and
// the other way round, is for openapi_schemas_test.
std::set<std::string> FieldsReadBy(const std::string& path) {
  std::ifstream file(BATON_SOURCE_DIR + path);
  std::stringstream text;
  text << file.rdbuf();
  const std::string source = text.str();
  std::set<std::string> names;
  for (const std::string& reader : ReadersOfBody(source, path)) {
    const std::vector<std::smatch> reads = Matches(
        source, absl::StrCat("\\b", reader, R"re(\.(?:Read|Find|FindSet)\((?:"([a-z_]+)")?)re"));
    EXPECT_FALSE(reads.empty()) << path << " reads nothing by " << reader;
    for (const std::smatch& match : reads) {
      if (match[1].matched) names.insert(match[1]);
      EXPECT_TRUE(match[1].matched)
          << path << ": a name that this test does not see: " << match.suffix().str().substr(0, 40);
    }
  }
  return names;
}

TEST_F(DocumentedEndpointsContract, SchemasHaveTheFieldsThatAreRead) {
  const json schemas = json::parse(Get("/openapi.json").body)["components"]["schemas"];
  const struct {
    const char* schema;
    const char* source;
    size_t num_fields;  // at least
  } requests[] = {
      {"ResponsesRequest", "/services/gateway/responses/responses_request.cc", 6},
      {"MessagesRequest", "/services/gateway/anthropic/messages_request.cc", 8},
      {"CountTokensRequest", "/services/gateway/anthropic/messages_request.cc", 8},
  };
  for (const auto& request : requests) {
    const std::set<std::string> names = FieldsReadBy(request.source);
    EXPECT_GE(names.size(), request.num_fields) << request.source;
    for (const std::string& name : names) {
      EXPECT_TRUE(schemas[request.schema]["properties"].contains(name))
          << request.schema << " lacks " << name;
    }
  }
  EXPECT_EQ(schemas["CountTokensRequest"]["required"], json({"messages"}));
  EXPECT_EQ(schemas["MessagesRequest"]["required"], json({"messages", "max_tokens"}));
  EXPECT_TRUE(schemas["ChatBatchRequest"]["properties"].contains("temperature"));
  EXPECT_EQ(schemas["ChatBatchRequest"]["properties"]["messages"]["items"]["type"], "array");
}

TEST_F(DocumentedEndpointsContract, ErrorsHaveTheShapesOfTheDocument) {
  const json document = json::parse(Get("/openapi.json").body);
  const auto schema_of = [&document](const std::string& path, const std::string& status) {
    return document["paths"][path]["post"]["responses"][status]["content"]["application/json"]
                   ["schema"]["$ref"]
                       .get<std::string>();
  };
  EXPECT_EQ(schema_of("/v1/completions", "400"), "#/components/schemas/Error");
  EXPECT_EQ(schema_of("/v1/messages", "400"), "#/components/schemas/AnthropicError");
  const auto has_required = [&document](const json& answer, const std::string& name) {
    const json& schema = document["components"]["schemas"][name];
    for (const json& key : schema["required"]) EXPECT_TRUE(answer.contains(key)) << key;
    const json& inner = schema["properties"]["error"];
    for (const json& key : inner["required"]) EXPECT_TRUE(answer["error"].contains(key)) << key;
    const json& types = inner["properties"]["type"]["enum"];
    EXPECT_NE(std::find(types.begin(), types.end(), answer["error"]["type"]), types.end())
        << answer.dump();
  };
  for (const char* path :
       {"/v1/completions", "/v1/chat/completions", "/v1/responses", "/tokenize"}) {
    has_required(json::parse(PostText(path, "{}").body), "Error");
    has_required(json::parse(PostText(path, R"({"model": "x", "prompt": "x", "input": "x",
        "messages": [{"role": "user", "content": "x"}]})")
                                 .body),
                 "Error");
  }
  for (const char* path : {"/v1/messages", "/v1/messages/count_tokens"}) {
    has_required(json::parse(PostText(path, "{}").body), "AnthropicError");
    has_required(json::parse(PostText(path, R"({"model": "x", "max_tokens": 1,
        "messages": [{"role": "user", "content": "x"}]})")
                                 .body),
                 "AnthropicError");
  }
  has_required(json::parse(Get("/v1/messages").body), "AnthropicError");
}

}  // namespace
}  // namespace baton::gateway
