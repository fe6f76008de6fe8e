// Synthetic words that sound like the English digits, spoken by invented speakers.
//
// The source-filter model of speech (Fant 1960; as a program, Klatt 1980): a train of pulses at the
// pitch of the voice, or noise where the voice is silent, passes through three resonances whose
// frequencies (formants) move from sound to sound. A digit is a list of sounds; formants of vowels
// are the averages of Peterson & Barney 1952, rounded.
//
// What differs from one utterance to the next: the pitch (85 to 250 Hz, falling), the length of the
// vocal tract (all formants times 0.87 to 1.18), the tempo (0.8 to 1.2), the loudness, the moment
// at which the word begins, and noise 8 to 20 dB below the word.
#pragma once

#include <cstdint>
#include <vector>

namespace tintype::examples {

inline constexpr int64_t kSampleRate = 8000, kSamples = 5600;  ///< 0.7 seconds

/// The word for `digit` (0 to 9) as samples around 0. The same seed gives the same utterance.
std::vector<float> speak(int digit, uint64_t seed);

}  // namespace tintype::examples
