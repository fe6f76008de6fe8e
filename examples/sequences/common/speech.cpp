#include "examples/sequences/common/speech.h"

#include <array>
#include <cmath>
#include <random>
#include <string_view>

namespace tintype::examples {

namespace {

constexpr double kPi = 3.14159265358979323846;

/// A sound: its resonances in Hz, how much voice and how much noise excite them.
struct Sound {
  std::string_view name;
  std::array<double, 3> formants;
  double voice, noise;
};

constexpr Sound kSounds[] = {
    {"i", {270, 2290, 3010}, 1, 0},     {"I", {390, 1990, 2550}, 1, 0},
    {"e", {480, 1950, 2500}, 1, 0},     {"E", {530, 1840, 2480}, 1, 0},
    {"a", {730, 1090, 2440}, 1, 0},     {"O", {570, 840, 2410}, 1, 0},
    {"U", {440, 1020, 2240}, 0.8, 0},   {"u", {300, 870, 2240}, 1, 0},
    {"V", {640, 1190, 2390}, 1, 0},     {"r", {400, 1150, 1600}, 0.8, 0},
    {"n", {250, 1400, 2300}, 0.5, 0},   {"v", {300, 1100, 2300}, 0.4, 0.15},
    {"z", {280, 1700, 3600}, 0.4, 0.4}, {"s", {1500, 2900, 3700}, 0, 0.6},
    {"f", {900, 1800, 2800}, 0, 0.2},   {"t", {1200, 2500, 3300}, 0, 0.7},
    {"k", {800, 1500, 2600}, 0, 0.6},   {"-", {500, 1500, 2500}, 0, 0},
};

struct Segment {
  std::string_view sound;
  double seconds;
};

const std::vector<Segment>& word(int digit) {
  static const std::array<std::vector<Segment>, 10> words = {{
      {{"z", .07}, {"I", .06}, {"r", .08}, {"O", .14}},
      {{"U", .08}, {"V", .14}, {"n", .12}},
      {{"t", .04}, {"u", .24}},
      {{"f", .07}, {"r", .07}, {"i", .20}},
      {{"f", .08}, {"O", .18}, {"r", .09}},
      {{"f", .08}, {"a", .13}, {"I", .08}, {"v", .07}},
      {{"s", .10}, {"I", .08}, {"-", .03}, {"k", .03}, {"s", .11}},
      {{"s", .09}, {"E", .09}, {"v", .05}, {"V", .07}, {"n", .08}},
      {{"e", .11}, {"I", .10}, {"-", .04}, {"t", .05}},
      {{"n", .08}, {"a", .13}, {"I", .08}, {"n", .08}},
  }};
  return words[static_cast<size_t>(digit)];
}

const Sound& sound_of(std::string_view name) {
  size_t i = 0;
  while (kSounds[i].name != name) ++i;
  return kSounds[i];
}

/// Numbers that are the same with every standard library.
class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed) {}
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(random_() >> 11) * 0x1p-53;
  }
  /// A sum of uniform numbers with variance 1, close enough to a normal distribution.
  double noise() { return between(-1, 1) + between(-1, 1) + between(-1, 1); }

 private:
  std::mt19937_64 random_;
};

/// y[n] = x[n] + 2 r cos(w) y[n-1] - r^2 y[n-2], scaled to about the same loudness everywhere.
class Resonance {
 public:
  double filter(double x, double frequency, double bandwidth) {
    const double r = std::exp(-kPi * bandwidth / kSampleRate);
    const double w = 2 * kPi * frequency / kSampleRate;
    const double y = (1 - r) * x + 2 * r * std::cos(w) * y1_ - r * r * y2_;
    y2_ = y1_;
    y1_ = y;
    return y;
  }

 private:
  double y1_ = 0, y2_ = 0;
};

/// What excites the vocal tract at a moment: parameters of a sound, or of one on its way to the
/// next.
Sound between(const Sound& a, const Sound& b, double share) {
  Sound s = a;
  for (size_t i = 0; i < 3; ++i) s.formants[i] += share * (b.formants[i] - a.formants[i]);
  s.voice += share * (b.voice - a.voice);
  s.noise += share * (b.noise - a.noise);
  return s;
}

/// The sounds of a word at a time since its beginning, in seconds at normal tempo; each glides into
/// the next in its last 25 ms.
Sound sound_at(const std::vector<Segment>& segments, double time) {
  constexpr double kGlide = 0.025;
  for (size_t i = 0; i < segments.size(); ++i) {
    const double left = segments[i].seconds - time;
    if (left > 0) {
      const Sound& now = sound_of(segments[i].sound);
      const Sound& next = sound_of(i + 1 < segments.size() ? segments[i + 1].sound : "-");
      return left < kGlide ? between(now, next, 1 - left / kGlide) : now;
    }
    time = -left;
  }
  return sound_of("-");
}

double length_of(const std::vector<Segment>& segments) {
  double seconds = 0;
  for (const Segment& s : segments) seconds += s.seconds;
  return seconds;
}

void add_noise(std::vector<float>& samples, double decibels, double loudness, Draws& draws) {
  double power = 0;
  for (const float v : samples) power += static_cast<double>(v) * static_cast<double>(v);
  const double rms = std::sqrt(power / static_cast<double>(samples.size()));
  const double noise = std::pow(10, -decibels / 20);
  for (float& v : samples)
    v = static_cast<float>(loudness * (static_cast<double>(v) / rms + noise * draws.noise()));
}

}  // namespace

std::vector<float> speak(int digit, uint64_t seed) {
  Draws draws(seed);
  const std::vector<Segment>& segments = word(digit);
  const double pitch = 85 * std::exp(draws.between(0, std::log(250.0 / 85)));
  const double tract = draws.between(0.87, 1.18), tempo = draws.between(0.8, 1.2);
  const double seconds = length_of(segments) / tempo;
  const double room = static_cast<double>(kSamples) / kSampleRate - seconds;
  const double begin = draws.between(0, room);
  std::vector<float> samples(kSamples, 0);
  std::array<Resonance, 3> resonances;
  double phase = 0;
  for (int64_t i = 0; i < kSamples; ++i) {
    const double time = static_cast<double>(i) / kSampleRate - begin;
    if (time < 0 || time >= seconds) continue;
    const Sound s = sound_at(segments, time * tempo);
    phase += pitch * (1 - 0.25 * time / seconds) / kSampleRate;
    const double pulse = phase >= 1 ? 8 : 0;
    phase -= std::floor(phase);
    const double source = s.voice * pulse + s.noise * draws.noise();
    constexpr double kBandwidths[] = {60, 90, 130}, kLoudness[] = {1, 0.7, 0.5};
    double y = 0;
    for (size_t f = 0; f < 3; ++f)
      y += kLoudness[f] * resonances[f].filter(source, tract * s.formants[f], kBandwidths[f]);
    samples[static_cast<size_t>(i)] = static_cast<float>(y);
  }
  const double decibels = draws.between(8, 20), loudness = draws.between(0.5, 1.5);
  add_noise(samples, decibels, loudness, draws);
  return samples;
}

}  // namespace tintype::examples
