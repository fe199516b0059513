// DDR behind an AXI port, as fast as Verilator likes it: one array of words, reads in order after a latency, a rate limit.
//
//   latency      cycles from an accepted read address to its first word, and from the last written word to its response;
//                drawn anew for each burst between LATENCY_MIN and LATENCY_MAX
//   stalls       with STALLS, every ready and valid of this side drops at random; without, none ever does
//   rate         words per 1024 cycles, reads and writes together; 1024 and more is no limit for either alone
//
// The contents come from +image (a file of 64-bit little-endian words) and go to +dump when `finish` rises.
`timescale 1ns / 1ps
module ddr #(
    parameter LOG2_WORDS = 21
) (
    input             clk,
    input             rst,
    input             load,
    input             finish,
    input      [31:0] araddr,
    input      [ 7:0] arlen,
    input             arvalid,
    output            arready,
    output reg [63:0] rdata,
    output     [ 1:0] rresp,
    output reg        rlast,
    output reg        rvalid,
    input             rready,
    input      [31:0] awaddr,
    input      [ 7:0] awlen,
    input             awvalid,
    output            awready,
    input      [63:0] wdata,
    input      [ 7:0] wstrb,
    input             wlast,
    input             wvalid,
    output            wready,
    output     [ 1:0] bresp,
    output reg        bvalid,
    input             bready,
    output reg        fault
);
  localparam WORDS = 1 << LOG2_WORDS;
  reg [63:0] memory[0:WORDS-1];

  integer latency_min, latency_max, stalls, seed, rate, got, handle, count, index, dump_from, dump_words;
  reg [8*1024-1:0] image, dump;
  reg [63:0] now;

  function [63:0] swap(input [63:0] word);
    swap = {
      word[7:0], word[15:8], word[23:16], word[31:24], word[39:32], word[47:40], word[55:48], word[63:56]
    };
  endfunction

  initial begin
    if (!$value$plusargs("latency_min=%d", latency_min)) latency_min = 40;
    if (!$value$plusargs("latency_max=%d", latency_max)) latency_max = latency_min;
    if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    if (!$value$plusargs("rate=%d", rate)) rate = 1048576;
  end

  always @(posedge load) begin
    if ($value$plusargs("image=%s", image)) begin
      handle = $fopen(image, "rb");
      got = $fread(memory, handle);
      $fclose(handle);
      // $fread fills big-endian words.
      for (index = 0; index < got / 8; index = index + 1) memory[index] = swap(memory[index]);
    end
  end

  always @(posedge finish) begin
    if ($value$plusargs("dump=%s", dump)) begin
      if (!$value$plusargs("dump_from=%d", dump_from)) dump_from = 0;
      if (!$value$plusargs("dump_words=%d", dump_words)) dump_words = WORDS;
      handle = $fopen(dump, "w");
      for (index = dump_from; index < dump_from + dump_words; index = index + 1) $fdisplay(handle, "%x", memory[index]);
      $fclose(handle);
    end
  end

  // Random numbers of our own (xorshift), so that a seed means the same with every simulator.
  reg [31:0] noise;
  function [31:0] stir(input [31:0] x);
    reg [31:0] a, b;
    begin
      a = x ^ (x << 13);
      b = a ^ (a >> 17);
      stir = b ^ (b << 5);
    end
  endfunction
  wire hold_ar = stalls != 0 && noise[1:0] == 0;
  wire hold_aw = stalls != 0 && noise[3:2] == 0;
  wire hold_w = stalls != 0 && noise[5:4] == 0;
  wire hold_r = stalls != 0 && noise[7:6] == 0;
  wire [31:0] spread = latency_max - latency_min + 1;
  wire [63:0] drawn = latency_min + (noise[31:8] % spread);

  // Reads: a queue of bursts, each with the cycle in which its first word may leave.
  reg [31:0] ar_address[0:127];
  reg [ 7:0] ar_length[0:127];
  reg [63:0] ar_time[0:127];
  reg [7:0] ar_head, ar_tail;
  reg [7:0] r_beat;
  wire [7:0] ar_waiting = ar_tail - ar_head;
  assign arready = !rst && ar_waiting < 100 && !hold_ar;
  assign rresp = 0;
  wire [31:0] r_address = ar_address[ar_head[6:0]] + {21'd0, r_beat, 3'd0};
  wire r_due = ar_waiting != 0 && ar_time[ar_head[6:0]] <= now + 1;
  reg [31:0] credit;
  wire r_credit = credit >= 1024;
  wire r_slot = (!rvalid || rready) && r_due && !hold_r && r_credit;

  // Writes: a queue of addresses, a queue of responses.
  reg [31:0] aw_address[0:127];
  reg [7:0] aw_head, aw_tail;
  reg [ 7:0] w_beat;
  reg [63:0] b_time[0:127];
  reg [7:0] b_head, b_tail;
  wire [7:0] aw_waiting = aw_tail - aw_head;
  wire [7:0] b_waiting = b_tail - b_head;
  assign awready = !rst && aw_waiting < 100 && !hold_aw;
  wire w_credit = credit >= (r_slot ? 2048 : 1024);
  assign wready = !rst && aw_waiting != 0 && b_waiting < 100 && !hold_w && w_credit;
  assign bresp = 0;
  wire [31:0] w_address = aw_address[aw_head[6:0]] + {21'd0, w_beat, 3'd0};
  wire w_slot = wvalid && wready;

  integer lane;
  always @(posedge clk) begin
    now <= now + 1;
    noise <= stir(noise);
    if (rst) begin
      now <= 0;
      noise <= seed * 32'd2654435761 + 32'd1;
      {ar_head, ar_tail, aw_head, aw_tail, b_head, b_tail, r_beat, w_beat} <= 0;
      {rvalid, rlast, bvalid, fault} <= 0;
      credit <= 4096;
    end else begin
      credit <= (credit + rate > 4096 ? 4096 : credit + rate) - (r_slot ? 1024 : 0) - (w_slot ? 1024 : 0);

      if (arvalid && arready) begin
        ar_address[ar_tail[6:0]] <= araddr;
        ar_length[ar_tail[6:0]] <= arlen;
        ar_time[ar_tail[6:0]] <= now + drawn;
        ar_tail <= ar_tail + 1;
      end
      if (rready) rvalid <= 0;
      if (r_slot) begin
        rvalid <= 1;
        rdata <= memory[r_address[LOG2_WORDS+2:3]];
        rlast <= r_beat == ar_length[ar_head[6:0]];
        r_beat <= r_beat + 1;
        if (r_beat == ar_length[ar_head[6:0]]) begin
          r_beat <= 0;
          ar_head <= ar_head + 1;
        end
        if (r_address >= 8 * WORDS) fault <= 1;
      end

      if (awvalid && awready) begin
        aw_address[aw_tail[6:0]] <= awaddr;
        aw_tail <= aw_tail + 1;
      end
      if (w_slot) begin
        for (lane = 0; lane < 8; lane = lane + 1)
          if (wstrb[lane]) memory[w_address[LOG2_WORDS+2:3]][8*lane+:8] <= wdata[8*lane+:8];
        w_beat <= w_beat + 1;
        if (w_address >= 8 * WORDS) fault <= 1;
        if (wlast) begin
          w_beat <= 0;
          aw_head <= aw_head + 1;
          b_time[b_tail[6:0]] <= now + drawn;
          b_tail <= b_tail + 1;
        end
      end
      if (bready) bvalid <= 0;
      if ((!bvalid || bready) && b_waiting != 0 && b_time[b_head[6:0]] <= now + 1) begin
        bvalid <= 1;
        b_head <= b_head + 1;
      end
    end
  end
endmodule
