// Numbers with two decimals: a hundredth of a pixel.
#include "frontend/plot/svg.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

namespace tintype {

namespace {

std::string base64(const std::vector<std::byte>& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < count ? std::to_integer<uint32_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    // Control characters are no XML, escaped or not.
    if (static_cast<unsigned char>(c) < 32) out += ' ';
    else if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

Svg::Svg(double width, double height) : width_(width), height_(height) {}

void Svg::line(double x1, double y1, double x2, double y2, const char* colour, double width) {
  body_ += fmt::format(
      R"(<line x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}" stroke="{}" stroke-width="{:g}"/>)"
      "\n",
      x1, y1, x2, y2, colour, width);
}

void Svg::rectangle(double x, double y, double width, double height, const std::string& fill,
                    const std::string& stroke, double stroke_width, double radius) {
  body_ += fmt::format(
      R"(<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" rx="{:g}" fill="{}")"
      R"( stroke="{}" stroke-width="{:g}"/>)"
      "\n",
      x, y, width, height, radius, fill, stroke, stroke_width);
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, const char* colour,
                   double width, bool dashed) {
  body_ += R"(<polyline fill="none" stroke-linejoin="round" stroke-linecap="round" points=")";
  for (const auto& [x, y] : points) body_ += fmt::format("{:.2f},{:.2f} ", x, y);
  body_ += fmt::format(R"(" stroke="{}" stroke-width="{:g}"{}/>)"
                       "\n",
                       colour, width, dashed ? R"( stroke-dasharray="5 4")" : "");
}

void Svg::circle(double x, double y, double radius, const char* fill) {
  body_ += fmt::format(R"(<circle cx="{:.2f}" cy="{:.2f}" r="{:g}" fill="{}"/>)"
                       "\n",
                       x, y, radius, fill);
}

void Svg::text(double x, double y, std::string_view content, const TextStyle& style) {
  const char* anchor = style.anchor == Anchor::start    ? "start"
                       : style.anchor == Anchor::middle ? "middle"
                                                        : "end";
  body_ += fmt::format(
      R"(<text x="{:.2f}" y="{:.2f}" font-size="{:g}" fill="{}" text-anchor="{}"{}>{}</text>)"
      "\n",
      x, y, style.size, style.colour, anchor, style.bold ? R"( font-weight="600")" : "",
      escaped(content));
}

Status Svg::picture(double x, double y, double width, double height, const Image& image) {
  const Result<std::vector<std::byte>> png = encode_png(image);
  if (!png.ok()) return png.status();
  body_ += fmt::format(
      R"(<image x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" preserveAspectRatio="none")"
      R"( style="image-rendering:pixelated" href="data:image/png;base64,{}"/>)"
      "\n",
      x, y, width, height, base64(png.value()));
  return {};
}

std::string Svg::take() const {
  return fmt::format(
             R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:g}" height="{1:g}")"
             R"( viewBox="0 0 {0:g} {1:g}" font-family="system-ui, 'DejaVu Sans', sans-serif">)"
             "\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
             width_, height_) +
         body_ + "</svg>\n";
}

}  // namespace tintype
