// One high-performance port of the processing system's model in ps7.v: bursts in order, at most 8 of each kind waiting.
// What a burst reads is fixed when its address is taken, and what it writes is in memory when its response is given: the
// earliest and the latest that AXI allows, so that whoever reads without waiting for the response reads old words.
`timescale 1ns / 1ps
`ifndef HWSEG_LOG2_WORDS
`define HWSEG_LOG2_WORDS 18
`endif
`ifndef HWSEG_BASE
`define HWSEG_BASE 32'h1000_0000
`endif

module ps7_port #(
    parameter NUMBER = 0
) (
    input             clk,
    input             rst,
    input      [31:0] latency_min,
    input      [31:0] latency_max,
    input      [31:0] write_latency_min,
    input      [31:0] write_latency_max,
    input             stalls,
    input      [31:0] seed,
    input      [31:0] bad_address,
    input             may_read,
    input             may_write,
    output            read_taken,
    output     [ 2:0] read_new,
    output     [ 2:0] read_slot,
    output     [ 3:0] read_beat,
    input      [63:0] read_data,
    output            write_taken,
    output     [ 3:0] write_new,
    output     [ 3:0] write_beat,
    output     [31:0] write_address,
    output     [ 7:0] write_strobe,
    output            answered,
    output     [ 3:0] answer_slot,
    output     [ 3:0] answer_last,
    output reg        broken,
    input      [31:0] araddr,
    input      [ 5:0] arid,
    input      [ 3:0] arlen,
    input      [ 1:0] arsize,
    input      [ 1:0] arburst,
    input             arvalid,
    output            arready,
    output reg [ 5:0] rid,
    output reg [63:0] rdata,
    output reg [ 1:0] rresp,
    output reg        rlast,
    output reg        rvalid,
    input             rready,
    input      [31:0] awaddr,
    input      [ 5:0] awid,
    input      [ 3:0] awlen,
    input      [ 1:0] awsize,
    input      [ 1:0] awburst,
    input      [ 3:0] awcache,
    input             awvalid,
    output            awready,
    input      [ 5:0] wid,
    input      [63:0] wdata,
    input      [ 7:0] wstrb,
    input             wlast,
    input             wvalid,
    output            wready,
    output reg [ 5:0] bid,
    output reg [ 1:0] bresp,
    output reg        bvalid,
    input             bready
);
  localparam FIRST = `HWSEG_BASE;
  localparam LAST = `HWSEG_BASE + (8 << `HWSEG_LOG2_WORDS) - 1;
  function [1:0] response(input [31:0] address);
    response = address < FIRST || address > LAST ? 2'd3 : address[31:3] == bad_address[31:3] ? 2'd2 : 2'd0;
  endfunction

  reg [63:0] now;
  reg [31:0] noise;
  function [31:0] stir(input [31:0] x);
    reg [31:0] a, b;
    begin
      a = x ^ (x << 13);
      b = a ^ (a >> 17);
      stir = b ^ (b << 5);
    end
  endfunction
  function [63:0] drawn(input [31:0] least, input [31:0] most);
    drawn = {32'd0, least} + {32'd0, {8'd0, noise[31:8]} % (most - least + 1)};
  endfunction
  wire hold_ar = stalls && noise[1:0] == 0;
  wire hold_aw = stalls && noise[3:2] == 0;
  wire hold_w = stalls && noise[5:4] == 0;
  wire hold_r = stalls && noise[7:6] == 0;

  // Reads.
  reg [31:0] ar_address[0:7];
  reg [3:0] ar_length[0:7];
  reg [5:0] ar_id[0:7];
  reg [63:0] ar_time[0:7];
  reg [3:0] ar_head, ar_tail, r_beat;
  wire [3:0] ar_waiting = ar_tail - ar_head;
  assign arready = !rst && ar_waiting < 8 && !hold_ar;
  assign read_taken = arvalid && arready;
  assign read_new = ar_tail[2:0];
  assign read_slot = ar_head[2:0];
  assign read_beat = r_beat;
  wire [31:0] read_address = ar_address[ar_head[2:0]] + {25'd0, r_beat, 3'd0};
  wire r_slot = (!rvalid || rready) && ar_waiting != 0 && ar_time[ar_head[2:0]] <= now + 1 && !hold_r;

  // Writes.
  reg [31:0] aw_address[0:7];
  reg [3:0] aw_length[0:7];
  reg [5:0] aw_id[0:7];
  reg [3:0] aw_head, aw_tail, w_beat;
  reg [63:0] b_time[0:7];
  reg [1:0] b_resp[0:7];
  reg [3:0] b_last[0:7];
  reg [5:0] b_id[0:7];
  reg [3:0] b_head, b_tail;
  reg [1:0] worst;
  wire [3:0] aw_waiting = aw_tail - aw_head;
  wire [3:0] b_waiting = b_tail - b_head;
  assign awready = !rst && aw_waiting < 8 && !hold_aw;
  assign wready = !rst && aw_waiting != 0 && b_waiting < 8 && !hold_w;
  assign write_new = b_tail;
  assign write_beat = w_beat;
  assign write_address = aw_address[aw_head[2:0]] + {25'd0, w_beat, 3'd0};
  wire [1:0] w_response = response(write_address);
  wire [1:0] w_worst = w_response > worst ? w_response : worst;
  wire w_slot = wvalid && wready;
  assign write_taken = w_slot;
  assign write_strobe = w_response == 0 ? wstrb : 8'd0;
  assign answered = (!bvalid || bready) && b_waiting != 0 && b_time[b_head[2:0]] <= now + 1;
  assign answer_slot = b_head;
  assign answer_last = b_last[b_head[2:0]];

  // Rules: whole 64-bit beats, incrementing, within 4 KB; what waits stays as it is; the last beat is marked; a write's
  // response does not come from something on the way; a direction that the design does not use stays quiet.
  wire [12:0] ar_end = {1'b0, araddr[11:0]} + {6'd0, arlen, 3'd0} + 13'd8;
  wire [12:0] aw_end = {1'b0, awaddr[11:0]} + {6'd0, awlen, 3'd0} + 13'd8;
  wire ar_wrong = arsize != 3 || arburst != 1 || araddr[2:0] != 0 || ar_end > 13'd4096;
  wire aw_wrong = awsize != 3 || awburst != 1 || awaddr[2:0] != 0 || aw_end > 13'd4096 || awcache[0];
  reg ar_waited, aw_waited, w_waited;
  reg [41:0] ar_was, aw_was;
  reg [78:0] w_was;
  wire [41:0] ar_now = {arid, araddr, arlen};
  wire [41:0] aw_now = {awid, awaddr, awlen};
  wire [78:0] w_now = {wid, wlast, wstrb, wdata};

  always @(posedge clk) begin
    now <= now + 1;
    noise <= stir(noise);
    broken <= 0;
    if (rst) begin
      now <= 0;
      noise <= (seed + NUMBER) * 32'd2654435761 + 32'd1;
      {ar_head, ar_tail, aw_head, aw_tail, b_head, b_tail, r_beat, w_beat} <= 0;
      {rvalid, rlast, bvalid, worst, ar_waited, aw_waited, w_waited} <= 0;
    end else begin
      ar_waited <= arvalid && !arready;
      aw_waited <= awvalid && !awready;
      w_waited <= wvalid && !wready;
      {ar_was, aw_was, w_was} <= {ar_now, aw_now, w_now};
      if ((arvalid && ar_wrong) || (awvalid && aw_wrong)) broken <= 1;
      if ((arvalid && !may_read) || ((awvalid || wvalid) && !may_write)) broken <= 1;
      if (ar_waited && (!arvalid || ar_now != ar_was)) broken <= 1;
      if (aw_waited && (!awvalid || aw_now != aw_was)) broken <= 1;
      if (w_waited && (!wvalid || w_now != w_was)) broken <= 1;
      if (w_slot && (wlast != (w_beat == aw_length[aw_head[2:0]]) || wid != aw_id[aw_head[2:0]])) broken <= 1;

      if (arvalid && arready) begin
        ar_address[ar_tail[2:0]] <= araddr;
        ar_length[ar_tail[2:0]] <= arlen;
        ar_id[ar_tail[2:0]] <= arid;
        ar_time[ar_tail[2:0]] <= now + drawn(latency_min, latency_max);
        ar_tail <= ar_tail + 1;
      end
      if (rready) rvalid <= 0;
      if (r_slot) begin
        rvalid <= 1;
        rid <= ar_id[ar_head[2:0]];
        rresp <= response(read_address);
        rdata <= response(read_address) == 0 ? read_data : 64'd0;
        rlast <= r_beat == ar_length[ar_head[2:0]];
        r_beat <= r_beat + 1;
        if (r_beat == ar_length[ar_head[2:0]]) begin
          r_beat <= 0;
          ar_head <= ar_head + 1;
        end
      end

      if (awvalid && awready) begin
        aw_address[aw_tail[2:0]] <= awaddr;
        aw_length[aw_tail[2:0]] <= awlen;
        aw_id[aw_tail[2:0]] <= awid;
        aw_tail <= aw_tail + 1;
      end
      if (w_slot) begin
        worst <= w_worst;
        w_beat <= w_beat + 1;
        if (w_beat == aw_length[aw_head[2:0]]) begin
          w_beat <= 0;
          worst <= 0;
          aw_head <= aw_head + 1;
          b_time[b_tail[2:0]] <= now + drawn(write_latency_min, write_latency_max);
          b_last[b_tail[2:0]] <= w_beat;
          b_resp[b_tail[2:0]] <= w_worst;
          b_id[b_tail[2:0]] <= aw_id[aw_head[2:0]];
          b_tail <= b_tail + 1;
        end
      end
      if (bready) bvalid <= 0;
      if (answered) begin
        bvalid <= 1;
        bid <= b_id[b_head[2:0]];
        bresp <= b_resp[b_head[2:0]];
        b_head <= b_head + 1;
      end
    end
  end
endmodule
