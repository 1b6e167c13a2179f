// A terminal that is drawn anew again and again, in plain ANSI.
#pragma once

#include <string>
#include <vector>

namespace baton::top {

// Takes the alternate screen and hides the cursor until it is destroyed.
class Terminal final {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // As much as fits now; what is too wide or too long is cut.
  void Draw(const std::vector<std::string>& lines);
};

// `lines` cut to `columns` and `rows` (0: as they are), with the sequences that place them.
std::string ScreenText(const std::vector<std::string>& lines, size_t columns, size_t rows);

}  // namespace baton::top
