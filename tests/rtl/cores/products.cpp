// Drives a column (encoder, loader, core) through sums of signed bytes; argv: input file, output file.
// Input, int32 words: lanes, order (0 planes most significant first, 1 least, 2 words), reload cycles, drain, tiles,
// sums per tile, then the bytes: each tile's weights and activations.
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vcolumn.h"
#include "verilated.h"

static Vcolumn* top;
static FILE* out;

template <class Port> static void set_bit(Port& port, int bit, bool value) {
  if constexpr (requires { port.at(0); }) {
    auto& word = port.at(bit / 32);
    word = (word & ~(1u << bit % 32)) | uint32_t(value) << bit % 32;
  } else {
    port = (port & ~(Port(1) << bit)) | Port(value) << bit;
  }
}

static void cycle(bool valid, bool first, bool last, bool negate, bool reload) {
  top->valid = valid; top->first = first; top->last = last; top->negate = negate; top->reload = reload;
  top->clk = 0; top->eval();
  if (top->sum_valid) { int64_t sum = top->sum; fwrite(&sum, 8, 1, out); }
  top->clk = 1; top->eval();
}

int main(int, char** argv) {
  FILE* in = fopen(argv[1], "rb");
  out = fopen(argv[2], "wb");
  int32_t head[6];
  if (!in || !out || fread(head, 4, 6, in) != 6) return 1;
  const int lanes = head[0], order = head[1], reload = head[2], drain = head[3], tiles = head[4], sums = head[5];
  std::vector<int8_t> weights(lanes), x(lanes);
  top = new Vcolumn;
  top->rst = 0;
  for (int tile = 0; tile < tiles; tile++) {
    for (int i = 0; i < 64; i++) cycle(0, 0, 0, 0, 0);
    if (fread(weights.data(), 1, lanes, in) != size_t(lanes)) return 1;
    for (int i = 0; i < lanes; i++) for (int b = 0; b < 8; b++) set_bit(top->weights, 8 * i + b, weights[i] >> b & 1);
    for (int i = 0; i < reload; i++) cycle(0, 0, 0, 0, i == 0);
    for (int sum = 0; sum < sums; sum++) {
      if (fread(x.data(), 1, lanes, in) != size_t(lanes)) return 1;
      for (int j = 0; j < (order == 2 ? 1 : 8); j++) {
        for (int i = 0; i < lanes; i++)
          if (order == 2) for (int b = 0; b < 8; b++) set_bit(top->lanes, 8 * i + b, x[i] >> b & 1);
          else set_bit(top->lanes, i, x[i] >> (order == 1 ? j : 7 - j) & 1);
        const bool sign = order == 2 || j == (order == 1 ? 7 : 0);
        cycle(1, j == 0, order == 2 || j == 7, sign, 0);
      }
      for (int i = 0; i < drain; i++) cycle(0, 0, 0, 0, 0);
    }
  }
  for (int i = 0; i < 64; i++) cycle(0, 0, 0, 0, 0);
  fclose(out);
  return 0;
}
