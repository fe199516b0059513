// What a RAMB18E1 or RAMB36E1 of a 7-series device holds and does (UG473), for simulation.  `hwseg.sim.netlist` puts the
// primitives' ports and parameters around it.
//
//   a byte        nine bits, eight of data and one of parity; BYTES of them
//   address       of a bit of data: a port of 1, 2, 4, 9, 18, 36, 72 bits leaves out the low 0, 1, 2, 3, 4, 5, 6 bits
//   word          bytes in order; of a port narrower than a byte, the bits of one byte's data
//   both ports    at one byte in one cycle, one of them writing: the other reads the old byte if the writer is READ_FIRST,
//                 else the part promises nothing, and the reader gets the old byte's complement here
`timescale 1ns / 1ps
module hwseg_block_ram #(
    parameter BYTES = 2048,
    parameter [8*BYTES-1:0] DATA = 0,
    parameter [BYTES-1:0] PARITY = 0,
    parameter integer READ_A = 0,
    parameter integer READ_B = 0,
    parameter integer WRITE_A = 0,
    parameter integer WRITE_B = 0,
    parameter integer MODE_A = 0,  // 0 READ_FIRST, 1 WRITE_FIRST, 2 NO_CHANGE
    parameter integer MODE_B = 0,
    parameter integer REGISTER_A = 0,
    parameter integer REGISTER_B = 0,
    parameter [71:0] INIT_A = 0,
    parameter [71:0] INIT_B = 0,
    parameter [71:0] RESET_A = 0,
    parameter [71:0] RESET_B = 0
) (
    input         clk_a,
    input         enable_a,
    input         reset_a,
    input         register_enable_a,
    input         register_reset_a,
    input  [14:0] address_a,
    input  [71:0] in_a,
    input  [ 7:0] write_a,
    output [71:0] out_a,
    input         clk_b,
    input         enable_b,
    input         reset_b,
    input         register_enable_b,
    input         register_reset_b,
    input  [14:0] address_b,
    input  [71:0] in_b,
    input  [ 7:0] write_b,
    output [71:0] out_b
);
  localparam integer BITS = $clog2(BYTES);
  reg [8:0] bytes[0:BYTES-1];
  integer k;
  initial for (k = 0; k < BYTES; k = k + 1) bytes[k] = {PARITY[k], DATA[8*k+:8]};

  genvar p;
  generate
    for (p = 0; p < 2; p = p + 1) begin : port
      localparam integer READ = p ? READ_B : READ_A;
      localparam integer WRITE = p ? WRITE_B : WRITE_A;
      localparam integer OTHER = p ? WRITE_A : WRITE_B;
      localparam integer MODE = p ? MODE_B : MODE_A;
      localparam integer OTHER_MODE = p ? MODE_A : MODE_B;
      localparam integer REGISTER = p ? REGISTER_B : REGISTER_A;
      localparam [71:0] FIRST = p ? INIT_B : INIT_A;
      localparam [71:0] RESET = p ? RESET_B : RESET_A;
      localparam integer READS = READ > 8 ? READ / 9 : 1;  // bytes
      localparam integer WRITES = WRITE > 8 ? WRITE / 9 : 1;
      localparam integer OTHERS = OTHER > 8 ? OTHER / 9 : 1;

      wire clk = p ? clk_b : clk_a;
      wire enable = p ? enable_b : enable_a;
      wire reset = p ? reset_b : reset_a;
      wire [14:0] address = p ? address_b : address_a;
      wire [71:0] in = p ? in_b : in_a;
      wire [7:0] write = (WRITE != 0 && enable) ? (p ? write_b : write_a) : 8'b0;
      wire [7:0] other = (OTHER != 0 && (p ? enable_a : enable_b)) ? (p ? write_a : write_b) : 8'b0;
      // The first byte of what is read, written here, and written at the other port.
      wire [BITS-1:0] from = address[3+:BITS] & ~(READS[BITS-1:0] - 1'b1);
      wire [BITS-1:0] to = address[3+:BITS] & ~(WRITES[BITS-1:0] - 1'b1);
      wire [14:0] other_address = p ? address_a : address_b;
      wire [BITS-1:0] other_to = other_address[3+:BITS] & ~(OTHERS[BITS-1:0] - 1'b1);

      reg [71:0] latch, register, word;
      reg [8:0] byte_in;
      integer i, j;
      initial begin
        latch = FIRST;
        register = FIRST;
      end

      function [8:0] merged(input [8:0] old, input [8:0] new_bits, input [2:0] bit_at);
        integer n;
        begin
          merged = old;
          if (WRITE > 8) merged = new_bits;
          else for (n = 0; n < WRITE; n = n + 1) merged[{1'b0, bit_at & ~(WRITE[2:0] - 3'd1)} + n] = new_bits[n];
        end
      endfunction

      always @(posedge clk)
        if (enable) begin
          word = 72'b0;
          for (i = 0; i < READS; i = i + 1) begin
            byte_in = bytes[from+i[BITS-1:0]];
            for (j = 0; j < WRITES; j = j + 1)
              if (MODE == 1 && write[j] && to + j[BITS-1:0] == from + i[BITS-1:0])
                byte_in = merged(byte_in, in[9*j+:9], address[2:0]);
            for (j = 0; j < OTHERS; j = j + 1)
              if (OTHER_MODE != 0 && other[j] && other_to + j[BITS-1:0] == from + i[BITS-1:0]) byte_in = ~byte_in;
            word[9*i+:9] = byte_in;
          end
          if (READ < 9) word = (word[7:0] >> (address[2:0] & ~(READ[2:0] - 3'd1))) & ((72'd1 << READ) - 72'd1);
          if (!(MODE == 2 && write != 0)) latch <= word;
          if (reset) latch <= RESET;
          for (i = 0; i < WRITES; i = i + 1)
            if (write[i])
              bytes[to+i[BITS-1:0]] <= merged(bytes[to+i[BITS-1:0]], in[9*i+:9], address[2:0]);
        end
      always @(posedge clk)
        if (p ? register_reset_b : register_reset_a) register <= RESET;
        else if (p ? register_enable_b : register_enable_a) register <= latch;
    end
  endgenerate
  assign out_a = REGISTER_A ? port[0].register : port[0].latch;
  assign out_b = REGISTER_B ? port[1].register : port[1].latch;
endmodule
