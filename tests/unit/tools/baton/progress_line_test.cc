#include "tools/baton/progress_line.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>

#include "gtest/gtest.h"

namespace baton {
namespace {

constexpr absl::Time kBegin = absl::FromUnixSeconds(1000);

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

absl::Time After(double seconds) { return kBegin + absl::Seconds(seconds); }

// All that was written to a file so far.
std::string TextOf(const File& file) {
  std::string text(static_cast<size_t>(std::ftell(file.get())), ' ');
  std::rewind(file.get());
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file.get()), text.size());
  return text;
}

// A terminal that shows nobody what is written to it.
struct Terminal {
  Terminal() : shown(posix_openpt(O_RDWR | O_NOCTTY)) {
    if (shown < 0 || grantpt(shown) != 0 || unlockpt(shown) != 0) return;
    const int fd = open(ptsname(shown), O_WRONLY | O_NOCTTY);
    if (fd >= 0) written.reset(fdopen(fd, "w"));
  }
  ~Terminal() {
    if (shown >= 0) close(shown);
  }
  // What was written since the last call, which is something.
  std::string Read() const {
    char text[1000];
    const ssize_t size = read(shown, text, sizeof(text));
    return std::string(text, static_cast<size_t>(std::max<ssize_t>(size, 0)));
  }

  const int shown;
  File written;
};

TEST(ProgressLine, IsALineEveryFiveSecondsInALog) {
  const File log(std::tmpfile());
  ASSERT_NE(log, nullptr);
  ProgressLine line(kBegin, log.get());
  EXPECT_FALSE(line.Due(After(4.875)));  // most groups are ready before
  EXPECT_TRUE(line.Due(After(5)));
  line.Show(After(5.25), "loading weights");
  EXPECT_FALSE(line.Due(After(10.125)));
  EXPECT_TRUE(line.Due(After(10.25)));
  line.Show(After(12.75), "waiting for gateway");
  line.Clear();
  EXPECT_EQ(TextOf(log), "starting, 5 s: loading weights\nstarting, 13 s: waiting for gateway\n");
}

TEST(ProgressLine, IsRewrittenOnATerminal) {
  const Terminal terminal;
  ASSERT_NE(terminal.written, nullptr) << "no terminal can be had";
  ProgressLine line(kBegin, terminal.written.get());
  EXPECT_TRUE(line.Due(kBegin));
  line.Show(After(1), "loading weights");
  EXPECT_EQ(terminal.Read(), "\r\033[Kstarting, 1 s: loading weights");
  EXPECT_FALSE(line.Due(After(1.0625)));
  EXPECT_TRUE(line.Due(After(1.125)));
  line.Show(After(2), "waiting for gateway");
  EXPECT_EQ(terminal.Read(), "\r\033[Kstarting, 2 s: waiting for gateway");
}

TEST(ProgressLine, LeavesACleanTerminal) {
  const Terminal terminal;
  ASSERT_NE(terminal.written, nullptr) << "no terminal can be had";
  ProgressLine line(kBegin, terminal.written.get());
  line.Clear();  // nothing is shown
  line.Show(After(1), "loading weights");
  EXPECT_EQ(terminal.Read(), "\r\033[Kstarting, 1 s: loading weights");
  line.Clear();
  line.Clear();
  std::fputs("ready", terminal.written.get());
  std::fflush(terminal.written.get());
  std::string text = terminal.Read();
  if (text == "\r\033[K") text += terminal.Read();
  EXPECT_EQ(text, "\r\033[Kready");
}

}  // namespace
}  // namespace baton
