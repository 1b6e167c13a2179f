#include "tools/top/terminal.h"

#include <algorithm>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace baton::top {
namespace {

void Put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

Terminal::Terminal() { Put("\033[?1049h\033[?25l"); }
Terminal::~Terminal() { Put("\033[?25h\033[?1049l"); }

void Terminal::Draw(const std::vector<std::string>& lines) {
  winsize size{};
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  Put(ScreenText(lines, size.ws_col, size.ws_row));
}

std::string ScreenText(const std::vector<std::string>& lines, size_t columns, size_t rows) {
  const size_t num_lines = rows == 0 ? lines.size() : std::min(lines.size(), rows);
  std::string text = "\033[H";
  for (size_t i = 0; i < num_lines; ++i) {
    absl::StrAppend(&text, columns == 0 ? lines[i] : lines[i].substr(0, columns), "\033[K",
                    i + 1 == num_lines ? "" : "\r\n");
  }
  return absl::StrCat(text, "\033[J");
}

}  // namespace baton::top
