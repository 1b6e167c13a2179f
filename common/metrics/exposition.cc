#include "common/metrics/exposition.h"

#include "prometheus/text_serializer.h"

namespace baton {

std::string RenderMetrics(const prometheus::Collectable& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.Collect());
}

}  // namespace baton
