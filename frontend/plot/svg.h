// SVG text, element by element.
#pragma once

#include "frontend/data/image.h"
#include "runtime/status.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tintype {

inline constexpr const char* kInk = "#24292f";     ///< text
inline constexpr const char* kFaint = "#6e7781";   ///< secondary text
inline constexpr const char* kRule = "#e3e6ea";    ///< grid lines
inline constexpr const char* kBlue = "#2166ac";    ///< training; right
inline constexpr const char* kOrange = "#e08214";  ///< validation
inline constexpr const char* kRed = "#c62828";     ///< wrong

/// Text for the content of an element or an attribute.
std::string escaped(std::string_view text);

class Svg {
 public:
  enum class Anchor { start, middle, end };
  struct TextStyle {
    double size = 12;
    const char* colour = kInk;
    Anchor anchor = Anchor::start;
    bool bold = false;
  };

  /// Extents in pixels, on white.
  Svg(double width, double height);

  void line(double x1, double y1, double x2, double y2, const char* colour, double width = 1);
  void rectangle(double x, double y, double width, double height, const std::string& fill,
                 const std::string& stroke = "none", double stroke_width = 1, double radius = 0);
  void polyline(const std::vector<std::pair<double, double>>& points, const char* colour,
                double width, bool dashed = false);
  void circle(double x, double y, double radius, const char* fill);
  /// `y` is the base line.
  void text(double x, double y, std::string_view content, const TextStyle& style);
  /// A picture whose pixels stay squares. Fails when it cannot be packed.
  Status picture(double x, double y, double width, double height, const Image& image);

  /// The whole document.
  std::string take() const;

 private:
  double width_, height_;
  std::string body_;
};

}  // namespace tintype
