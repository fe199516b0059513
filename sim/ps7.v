// The processing system of a Zynq-7000, as far as `hwseg_zynq` sees it: a stand-in for the primitive PS7 with the names and
// widths of its ports, so that the very top level that is packaged can be simulated.
//
//   general-purpose port 0   AXI3 manager; cocotbext-axi drives it through the signals gp0_*
//   high-performance ports   AXI3 subordinates on one memory of 2^HWSEG_LOG2_WORDS 64-bit words from HWSEG_BASE on;
//                            +latency_min, +latency_max: cycles to the first word of a read, drawn for every burst;
//                            +write_latency_min, +write_latency_max: to a write's response, by default the same;
//                            +read_ports, +write_ports: bit n: HPn may be asked to read, to write; by default all;
//                            +stalls=1: every ready and valid of this side drops at random; +seed
//   outside that memory      DECERR, and nothing is written; a beat on the word at `bad_address` gets SLVERR
//   fabric_reset             resets the fabric, but not the ports: bursts that it has begun go on
//   violations               beats and bursts that break the rules of AXI3 or come where they may not, counted
//   load, dump               a rising edge copies `count` words from (to) the file +exchange=NAME, beginning at word `first`
`timescale 1ns / 1ps
`ifndef HWSEG_LOG2_WORDS
`define HWSEG_LOG2_WORDS 18
`endif
`ifndef HWSEG_BASE
`define HWSEG_BASE 32'h1000_0000
`endif

module PS7 (
    output [ 3:0] FCLKCLK,
    output [ 3:0] FCLKRESETN,
    input  [19:0] IRQF2P,
    output        MAXIGP0ARESETN,
    output        MAXIGP0ARVALID,
    output        MAXIGP0AWVALID,
    output        MAXIGP0BREADY,
    output        MAXIGP0RREADY,
    output        MAXIGP0WLAST,
    output        MAXIGP0WVALID,
    output [11:0] MAXIGP0ARID,
    output [11:0] MAXIGP0AWID,
    output [11:0] MAXIGP0WID,
    output [ 1:0] MAXIGP0ARBURST,
    output [ 1:0] MAXIGP0ARLOCK,
    output [ 1:0] MAXIGP0ARSIZE,
    output [ 1:0] MAXIGP0AWBURST,
    output [ 1:0] MAXIGP0AWLOCK,
    output [ 1:0] MAXIGP0AWSIZE,
    output [ 2:0] MAXIGP0ARPROT,
    output [ 2:0] MAXIGP0AWPROT,
    output [31:0] MAXIGP0ARADDR,
    output [31:0] MAXIGP0AWADDR,
    output [31:0] MAXIGP0WDATA,
    output [ 3:0] MAXIGP0ARCACHE,
    output [ 3:0] MAXIGP0ARLEN,
    output [ 3:0] MAXIGP0ARQOS,
    output [ 3:0] MAXIGP0AWCACHE,
    output [ 3:0] MAXIGP0AWLEN,
    output [ 3:0] MAXIGP0AWQOS,
    output [ 3:0] MAXIGP0WSTRB,
    input         MAXIGP0ACLK,
    input         MAXIGP0ARREADY,
    input         MAXIGP0AWREADY,
    input         MAXIGP0BVALID,
    input         MAXIGP0RLAST,
    input         MAXIGP0RVALID,
    input         MAXIGP0WREADY,
    input  [11:0] MAXIGP0BID,
    input  [11:0] MAXIGP0RID,
    input  [ 1:0] MAXIGP0BRESP,
    input  [ 1:0] MAXIGP0RRESP,
    input  [31:0] MAXIGP0RDATA,
    output        SAXIHP0ARESETN,
    output        SAXIHP0ARREADY,
    output        SAXIHP0AWREADY,
    output        SAXIHP0BVALID,
    output        SAXIHP0RLAST,
    output        SAXIHP0RVALID,
    output        SAXIHP0WREADY,
    output        SAXIHP1ARESETN,
    output        SAXIHP1ARREADY,
    output        SAXIHP1AWREADY,
    output        SAXIHP1BVALID,
    output        SAXIHP1RLAST,
    output        SAXIHP1RVALID,
    output        SAXIHP1WREADY,
    output        SAXIHP2ARESETN,
    output        SAXIHP2ARREADY,
    output        SAXIHP2AWREADY,
    output        SAXIHP2BVALID,
    output        SAXIHP2RLAST,
    output        SAXIHP2RVALID,
    output        SAXIHP2WREADY,
    output        SAXIHP3ARESETN,
    output        SAXIHP3ARREADY,
    output        SAXIHP3AWREADY,
    output        SAXIHP3BVALID,
    output        SAXIHP3RLAST,
    output        SAXIHP3RVALID,
    output        SAXIHP3WREADY,
    output [ 1:0] SAXIHP0BRESP,
    output [ 1:0] SAXIHP0RRESP,
    output [ 1:0] SAXIHP1BRESP,
    output [ 1:0] SAXIHP1RRESP,
    output [ 1:0] SAXIHP2BRESP,
    output [ 1:0] SAXIHP2RRESP,
    output [ 1:0] SAXIHP3BRESP,
    output [ 1:0] SAXIHP3RRESP,
    output [ 2:0] SAXIHP0RACOUNT,
    output [ 2:0] SAXIHP1RACOUNT,
    output [ 2:0] SAXIHP2RACOUNT,
    output [ 2:0] SAXIHP3RACOUNT,
    output [ 5:0] SAXIHP0BID,
    output [ 5:0] SAXIHP0RID,
    output [ 5:0] SAXIHP0WACOUNT,
    output [ 5:0] SAXIHP1BID,
    output [ 5:0] SAXIHP1RID,
    output [ 5:0] SAXIHP1WACOUNT,
    output [ 5:0] SAXIHP2BID,
    output [ 5:0] SAXIHP2RID,
    output [ 5:0] SAXIHP2WACOUNT,
    output [ 5:0] SAXIHP3BID,
    output [ 5:0] SAXIHP3RID,
    output [ 5:0] SAXIHP3WACOUNT,
    output [63:0] SAXIHP0RDATA,
    output [63:0] SAXIHP1RDATA,
    output [63:0] SAXIHP2RDATA,
    output [63:0] SAXIHP3RDATA,
    output [ 7:0] SAXIHP0RCOUNT,
    output [ 7:0] SAXIHP0WCOUNT,
    output [ 7:0] SAXIHP1RCOUNT,
    output [ 7:0] SAXIHP1WCOUNT,
    output [ 7:0] SAXIHP2RCOUNT,
    output [ 7:0] SAXIHP2WCOUNT,
    output [ 7:0] SAXIHP3RCOUNT,
    output [ 7:0] SAXIHP3WCOUNT,
    input         SAXIHP0ACLK,
    input         SAXIHP0ARVALID,
    input         SAXIHP0AWVALID,
    input         SAXIHP0BREADY,
    input         SAXIHP0RDISSUECAP1EN,
    input         SAXIHP0RREADY,
    input         SAXIHP0WLAST,
    input         SAXIHP0WRISSUECAP1EN,
    input         SAXIHP0WVALID,
    input         SAXIHP1ACLK,
    input         SAXIHP1ARVALID,
    input         SAXIHP1AWVALID,
    input         SAXIHP1BREADY,
    input         SAXIHP1RDISSUECAP1EN,
    input         SAXIHP1RREADY,
    input         SAXIHP1WLAST,
    input         SAXIHP1WRISSUECAP1EN,
    input         SAXIHP1WVALID,
    input         SAXIHP2ACLK,
    input         SAXIHP2ARVALID,
    input         SAXIHP2AWVALID,
    input         SAXIHP2BREADY,
    input         SAXIHP2RDISSUECAP1EN,
    input         SAXIHP2RREADY,
    input         SAXIHP2WLAST,
    input         SAXIHP2WRISSUECAP1EN,
    input         SAXIHP2WVALID,
    input         SAXIHP3ACLK,
    input         SAXIHP3ARVALID,
    input         SAXIHP3AWVALID,
    input         SAXIHP3BREADY,
    input         SAXIHP3RDISSUECAP1EN,
    input         SAXIHP3RREADY,
    input         SAXIHP3WLAST,
    input         SAXIHP3WRISSUECAP1EN,
    input         SAXIHP3WVALID,
    input  [ 1:0] SAXIHP0ARBURST,
    input  [ 1:0] SAXIHP0ARLOCK,
    input  [ 1:0] SAXIHP0ARSIZE,
    input  [ 1:0] SAXIHP0AWBURST,
    input  [ 1:0] SAXIHP0AWLOCK,
    input  [ 1:0] SAXIHP0AWSIZE,
    input  [ 1:0] SAXIHP1ARBURST,
    input  [ 1:0] SAXIHP1ARLOCK,
    input  [ 1:0] SAXIHP1ARSIZE,
    input  [ 1:0] SAXIHP1AWBURST,
    input  [ 1:0] SAXIHP1AWLOCK,
    input  [ 1:0] SAXIHP1AWSIZE,
    input  [ 1:0] SAXIHP2ARBURST,
    input  [ 1:0] SAXIHP2ARLOCK,
    input  [ 1:0] SAXIHP2ARSIZE,
    input  [ 1:0] SAXIHP2AWBURST,
    input  [ 1:0] SAXIHP2AWLOCK,
    input  [ 1:0] SAXIHP2AWSIZE,
    input  [ 1:0] SAXIHP3ARBURST,
    input  [ 1:0] SAXIHP3ARLOCK,
    input  [ 1:0] SAXIHP3ARSIZE,
    input  [ 1:0] SAXIHP3AWBURST,
    input  [ 1:0] SAXIHP3AWLOCK,
    input  [ 1:0] SAXIHP3AWSIZE,
    input  [ 2:0] SAXIHP0ARPROT,
    input  [ 2:0] SAXIHP0AWPROT,
    input  [ 2:0] SAXIHP1ARPROT,
    input  [ 2:0] SAXIHP1AWPROT,
    input  [ 2:0] SAXIHP2ARPROT,
    input  [ 2:0] SAXIHP2AWPROT,
    input  [ 2:0] SAXIHP3ARPROT,
    input  [ 2:0] SAXIHP3AWPROT,
    input  [31:0] SAXIHP0ARADDR,
    input  [31:0] SAXIHP0AWADDR,
    input  [31:0] SAXIHP1ARADDR,
    input  [31:0] SAXIHP1AWADDR,
    input  [31:0] SAXIHP2ARADDR,
    input  [31:0] SAXIHP2AWADDR,
    input  [31:0] SAXIHP3ARADDR,
    input  [31:0] SAXIHP3AWADDR,
    input  [ 3:0] SAXIHP0ARCACHE,
    input  [ 3:0] SAXIHP0ARLEN,
    input  [ 3:0] SAXIHP0ARQOS,
    input  [ 3:0] SAXIHP0AWCACHE,
    input  [ 3:0] SAXIHP0AWLEN,
    input  [ 3:0] SAXIHP0AWQOS,
    input  [ 3:0] SAXIHP1ARCACHE,
    input  [ 3:0] SAXIHP1ARLEN,
    input  [ 3:0] SAXIHP1ARQOS,
    input  [ 3:0] SAXIHP1AWCACHE,
    input  [ 3:0] SAXIHP1AWLEN,
    input  [ 3:0] SAXIHP1AWQOS,
    input  [ 3:0] SAXIHP2ARCACHE,
    input  [ 3:0] SAXIHP2ARLEN,
    input  [ 3:0] SAXIHP2ARQOS,
    input  [ 3:0] SAXIHP2AWCACHE,
    input  [ 3:0] SAXIHP2AWLEN,
    input  [ 3:0] SAXIHP2AWQOS,
    input  [ 3:0] SAXIHP3ARCACHE,
    input  [ 3:0] SAXIHP3ARLEN,
    input  [ 3:0] SAXIHP3ARQOS,
    input  [ 3:0] SAXIHP3AWCACHE,
    input  [ 3:0] SAXIHP3AWLEN,
    input  [ 3:0] SAXIHP3AWQOS,
    input  [ 5:0] SAXIHP0ARID,
    input  [ 5:0] SAXIHP0AWID,
    input  [ 5:0] SAXIHP0WID,
    input  [ 5:0] SAXIHP1ARID,
    input  [ 5:0] SAXIHP1AWID,
    input  [ 5:0] SAXIHP1WID,
    input  [ 5:0] SAXIHP2ARID,
    input  [ 5:0] SAXIHP2AWID,
    input  [ 5:0] SAXIHP2WID,
    input  [ 5:0] SAXIHP3ARID,
    input  [ 5:0] SAXIHP3AWID,
    input  [ 5:0] SAXIHP3WID,
    input  [63:0] SAXIHP0WDATA,
    input  [63:0] SAXIHP1WDATA,
    input  [63:0] SAXIHP2WDATA,
    input  [63:0] SAXIHP3WDATA,
    input  [ 7:0] SAXIHP0WSTRB,
    input  [ 7:0] SAXIHP1WSTRB,
    input  [ 7:0] SAXIHP2WSTRB,
    input  [ 7:0] SAXIHP3WSTRB
);
  localparam WORDS = 1 << `HWSEG_LOG2_WORDS;
  reg clk  /*verilator public_flat_rw*/;
  reg rst  /*verilator public_flat_rw*/;
  assign FCLKCLK = {3'b0, clk};
  reg fabric_reset  /*verilator public_flat_rw*/;
  initial fabric_reset = 0;
  assign FCLKRESETN = {3'b0, ~rst & ~fabric_reset};
  wire interrupt  /*verilator public_flat_rd*/ = IRQF2P[0];

  // The general-purpose port's signals, for cocotb; its AXI4 lengths and sizes lose the bits that AXI3 has not.
  reg gp0_arvalid  /*verilator public_flat_rw*/;
  reg gp0_awvalid  /*verilator public_flat_rw*/;
  reg gp0_bready  /*verilator public_flat_rw*/;
  reg gp0_rready  /*verilator public_flat_rw*/;
  reg gp0_wlast  /*verilator public_flat_rw*/;
  reg gp0_wvalid  /*verilator public_flat_rw*/;
  reg [11:0] gp0_arid  /*verilator public_flat_rw*/;
  reg [11:0] gp0_awid  /*verilator public_flat_rw*/;
  reg [1:0] gp0_arburst  /*verilator public_flat_rw*/;
  reg [2:0] gp0_arsize  /*verilator public_flat_rw*/;
  reg [1:0] gp0_awburst  /*verilator public_flat_rw*/;
  reg [2:0] gp0_awsize  /*verilator public_flat_rw*/;
  reg [31:0] gp0_araddr  /*verilator public_flat_rw*/;
  reg [31:0] gp0_awaddr  /*verilator public_flat_rw*/;
  reg [31:0] gp0_wdata  /*verilator public_flat_rw*/;
  reg [7:0] gp0_arlen  /*verilator public_flat_rw*/;
  reg [7:0] gp0_awlen  /*verilator public_flat_rw*/;
  reg [3:0] gp0_wstrb  /*verilator public_flat_rw*/;
  wire gp0_arready  /*verilator public_flat_rd*/ = MAXIGP0ARREADY;
  wire gp0_awready  /*verilator public_flat_rd*/ = MAXIGP0AWREADY;
  wire gp0_bvalid  /*verilator public_flat_rd*/ = MAXIGP0BVALID;
  wire gp0_rlast  /*verilator public_flat_rd*/ = MAXIGP0RLAST;
  wire gp0_rvalid  /*verilator public_flat_rd*/ = MAXIGP0RVALID;
  wire gp0_wready  /*verilator public_flat_rd*/ = MAXIGP0WREADY;
  wire [11:0] gp0_bid  /*verilator public_flat_rd*/ = MAXIGP0BID;
  wire [11:0] gp0_rid  /*verilator public_flat_rd*/ = MAXIGP0RID;
  wire [1:0] gp0_bresp  /*verilator public_flat_rd*/ = MAXIGP0BRESP;
  wire [1:0] gp0_rresp  /*verilator public_flat_rd*/ = MAXIGP0RRESP;
  wire [31:0] gp0_rdata  /*verilator public_flat_rd*/ = MAXIGP0RDATA;
  assign MAXIGP0ARVALID = gp0_arvalid;
  assign MAXIGP0AWVALID = gp0_awvalid;
  assign MAXIGP0BREADY = gp0_bready;
  assign MAXIGP0RREADY = gp0_rready;
  assign MAXIGP0WLAST = gp0_wlast;
  assign MAXIGP0WVALID = gp0_wvalid;
  assign MAXIGP0ARID = gp0_arid;
  assign MAXIGP0AWID = gp0_awid;
  assign MAXIGP0ARBURST = gp0_arburst;
  assign MAXIGP0ARSIZE = gp0_arsize[1:0];
  assign MAXIGP0AWBURST = gp0_awburst;
  assign MAXIGP0AWSIZE = gp0_awsize[1:0];
  assign MAXIGP0ARADDR = gp0_araddr;
  assign MAXIGP0AWADDR = gp0_awaddr;
  assign MAXIGP0WDATA = gp0_wdata;
  assign MAXIGP0ARLEN = gp0_arlen[3:0];
  assign MAXIGP0AWLEN = gp0_awlen[3:0];
  assign MAXIGP0WSTRB = gp0_wstrb;
  assign MAXIGP0ARESETN = ~rst;
  assign MAXIGP0WID = gp0_awid;
  assign MAXIGP0ARLOCK = 0;
  assign MAXIGP0AWLOCK = 0;
  assign MAXIGP0ARPROT = 0;
  assign MAXIGP0AWPROT = 0;
  assign MAXIGP0ARCACHE = 0;
  assign MAXIGP0ARQOS = 0;
  assign MAXIGP0AWCACHE = 0;
  assign MAXIGP0AWQOS = 0;

  reg [63:0] memory[0:WORDS-1];
  reg load  /*verilator public_flat_rw*/;
  reg dump  /*verilator public_flat_rw*/;
  reg [31:0] first  /*verilator public_flat_rw*/;
  reg [31:0] count  /*verilator public_flat_rw*/;
  reg [31:0] bad_address  /*verilator public_flat_rw*/;
  reg [31:0] violations  /*verilator public_flat_rd*/;
  reg [63:0] cycles  /*verilator public_flat_rd*/;
  integer latency_min, latency_max, write_latency_min, write_latency_max, stalls, seed, handle, got, index;
  reg [3:0] read_ports, write_ports;
  reg [8*1024-1:0] exchange;

  function [63:0] swap(input [63:0] word);
    swap = {
      word[7:0], word[15:8], word[23:16], word[31:24], word[39:32], word[47:40], word[55:48], word[63:56]
    };
  endfunction

  initial begin
    if (!$value$plusargs("latency_min=%d", latency_min)) latency_min = 40;
    if (!$value$plusargs("latency_max=%d", latency_max)) latency_max = latency_min;
    if (!$value$plusargs("write_latency_min=%d", write_latency_min)) write_latency_min = latency_min;
    if (!$value$plusargs("write_latency_max=%d", write_latency_max)) write_latency_max = latency_max;
    if (!$value$plusargs("read_ports=%d", read_ports)) read_ports = 15;
    if (!$value$plusargs("write_ports=%d", write_ports)) write_ports = 15;
    if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    if (!$value$plusargs("exchange=%s", exchange)) exchange = "exchange";
    bad_address = 32'hFFFF_FFFF;
    violations = 0;
    cycles = 0;
  end

  always @(posedge load) begin
    handle = $fopen(exchange, "rb");
    got = $fread(memory, handle, first, count);
    $fclose(handle);
    // $fread fills big-endian words.
    for (index = first; index < first + count; index = index + 1) memory[index] = swap(memory[index]);
  end

  always @(posedge dump) begin
    handle = $fopen(exchange, "w");
    for (index = first; index < first + count; index = index + 1) $fdisplay(handle, "%x", memory[index]);
    $fclose(handle);
  end

  // Words that bursts will read, by port, burst and beat, and words that wait for their burst's response.
  reg [63:0] seen[0:4*8*16-1];
  reg [31:0] pending_address[0:4*16*16-1];
  reg [63:0] pending_data[0:4*16*16-1];
  reg [7:0] pending_strobe[0:4*16*16-1];
  wire [4*32-1:0] read_address, write_address;
  wire [4*64-1:0] read_data, write_data;
  wire [4*8-1:0] write_strobe;
  wire [4*3-1:0] read_new, read_slot;
  wire [4*4-1:0] read_beat, write_new, write_beat, answer_slot, answer_last;
  wire [3:0] read_taken, write_taken, answered, broken;
  assign read_address = {SAXIHP3ARADDR, SAXIHP2ARADDR, SAXIHP1ARADDR, SAXIHP0ARADDR};
  assign write_data = {SAXIHP3WDATA, SAXIHP2WDATA, SAXIHP1WDATA, SAXIHP0WDATA};
  genvar port;
  generate
    for (port = 0; port < 4; port = port + 1) begin : data_of
      assign read_data[64*port+:64] = seen[{port[1:0], read_slot[3*port+:3], read_beat[4*port+:4]}];
    end
  endgenerate

  function [63:0] lanes(input [7:0] strobe);
    integer lane;
    for (lane = 0; lane < 8; lane = lane + 1) lanes[8*lane+:8] = {8{strobe[lane]}};
  endfunction
  function [`HWSEG_LOG2_WORDS-1:0] word_at(input [31:0] address);
    reg [31:0] offset;
    begin
      offset = address - `HWSEG_BASE;
      word_at = offset[`HWSEG_LOG2_WORDS+2:3];
    end
  endfunction

  integer number, beat;
  reg [9:0] waiting;
  always @(posedge clk) begin
    cycles <= cycles + 1;
    if (!rst) violations <= violations + {31'd0, broken[0]} + {31'd0, broken[1]} + {31'd0, broken[2]} + {31'd0, broken[3]};
    for (number = 0; number < 4; number = number + 1) begin
      if (read_taken[number])
        for (beat = 0; beat < 16; beat = beat + 1)
          seen[{number[1:0], read_new[3*number+:3], beat[3:0]}] <=
              memory[word_at(read_address[32*number+:32]+8*beat)];
      if (write_taken[number]) begin
        waiting = {number[1:0], write_new[4*number+:4], write_beat[4*number+:4]};
        pending_address[waiting] <= write_address[32*number+:32];
        pending_data[waiting] <= write_data[64*number+:64];
        pending_strobe[waiting] <= write_strobe[8*number+:8];
      end
      if (answered[number])
        for (beat = 0; beat < 16; beat = beat + 1) begin
          waiting = {number[1:0], answer_slot[4*number+:4], beat[3:0]};
          if (beat[3:0] <= answer_last[4*number+:4])
            memory[word_at(pending_address[waiting])] <=
                memory[word_at(pending_address[waiting])] & ~lanes(pending_strobe[waiting]) |
                pending_data[waiting] & lanes(pending_strobe[waiting]);
        end
    end
  end

  ps7_port #(
      .NUMBER(0)
  ) hp0 (
      .clk(clk),
      .rst(rst),
      .latency_min(latency_min),
      .latency_max(latency_max),
      .write_latency_min(write_latency_min),
      .write_latency_max(write_latency_max),
      .stalls(stalls != 0),
      .seed(seed),
      .bad_address(bad_address),
      .may_read(read_ports[0]),
      .may_write(write_ports[0]),
      .read_taken(read_taken[0]),
      .read_new(read_new[0+:3]),
      .read_slot(read_slot[0+:3]),
      .read_beat(read_beat[0+:4]),
      .read_data(read_data[0+:64]),
      .write_taken(write_taken[0]),
      .write_new(write_new[0+:4]),
      .write_beat(write_beat[0+:4]),
      .write_address(write_address[0+:32]),
      .write_strobe(write_strobe[0+:8]),
      .answered(answered[0]),
      .answer_slot(answer_slot[0+:4]),
      .answer_last(answer_last[0+:4]),
      .broken(broken[0]),
      .araddr(SAXIHP0ARADDR),
      .arid(SAXIHP0ARID),
      .arlen(SAXIHP0ARLEN),
      .arsize(SAXIHP0ARSIZE),
      .arburst(SAXIHP0ARBURST),
      .arvalid(SAXIHP0ARVALID),
      .arready(SAXIHP0ARREADY),
      .rid(SAXIHP0RID),
      .rdata(SAXIHP0RDATA),
      .rresp(SAXIHP0RRESP),
      .rlast(SAXIHP0RLAST),
      .rvalid(SAXIHP0RVALID),
      .rready(SAXIHP0RREADY),
      .awaddr(SAXIHP0AWADDR),
      .awid(SAXIHP0AWID),
      .awlen(SAXIHP0AWLEN),
      .awsize(SAXIHP0AWSIZE),
      .awburst(SAXIHP0AWBURST),
      .awcache(SAXIHP0AWCACHE),
      .awvalid(SAXIHP0AWVALID),
      .awready(SAXIHP0AWREADY),
      .wid(SAXIHP0WID),
      .wdata(SAXIHP0WDATA),
      .wstrb(SAXIHP0WSTRB),
      .wlast(SAXIHP0WLAST),
      .wvalid(SAXIHP0WVALID),
      .wready(SAXIHP0WREADY),
      .bid(SAXIHP0BID),
      .bresp(SAXIHP0BRESP),
      .bvalid(SAXIHP0BVALID),
      .bready(SAXIHP0BREADY)
  );
  assign SAXIHP0ARESETN = ~rst;
  assign SAXIHP0RACOUNT = 0;
  assign SAXIHP0WACOUNT = 0;
  assign SAXIHP0RCOUNT = 0;
  assign SAXIHP0WCOUNT = 0;
  ps7_port #(
      .NUMBER(1)
  ) hp1 (
      .clk(clk),
      .rst(rst),
      .latency_min(latency_min),
      .latency_max(latency_max),
      .write_latency_min(write_latency_min),
      .write_latency_max(write_latency_max),
      .stalls(stalls != 0),
      .seed(seed),
      .bad_address(bad_address),
      .may_read(read_ports[1]),
      .may_write(write_ports[1]),
      .read_taken(read_taken[1]),
      .read_new(read_new[3+:3]),
      .read_slot(read_slot[3+:3]),
      .read_beat(read_beat[4+:4]),
      .read_data(read_data[64+:64]),
      .write_taken(write_taken[1]),
      .write_new(write_new[4+:4]),
      .write_beat(write_beat[4+:4]),
      .write_address(write_address[32+:32]),
      .write_strobe(write_strobe[8+:8]),
      .answered(answered[1]),
      .answer_slot(answer_slot[4+:4]),
      .answer_last(answer_last[4+:4]),
      .broken(broken[1]),
      .araddr(SAXIHP1ARADDR),
      .arid(SAXIHP1ARID),
      .arlen(SAXIHP1ARLEN),
      .arsize(SAXIHP1ARSIZE),
      .arburst(SAXIHP1ARBURST),
      .arvalid(SAXIHP1ARVALID),
      .arready(SAXIHP1ARREADY),
      .rid(SAXIHP1RID),
      .rdata(SAXIHP1RDATA),
      .rresp(SAXIHP1RRESP),
      .rlast(SAXIHP1RLAST),
      .rvalid(SAXIHP1RVALID),
      .rready(SAXIHP1RREADY),
      .awaddr(SAXIHP1AWADDR),
      .awid(SAXIHP1AWID),
      .awlen(SAXIHP1AWLEN),
      .awsize(SAXIHP1AWSIZE),
      .awburst(SAXIHP1AWBURST),
      .awcache(SAXIHP1AWCACHE),
      .awvalid(SAXIHP1AWVALID),
      .awready(SAXIHP1AWREADY),
      .wid(SAXIHP1WID),
      .wdata(SAXIHP1WDATA),
      .wstrb(SAXIHP1WSTRB),
      .wlast(SAXIHP1WLAST),
      .wvalid(SAXIHP1WVALID),
      .wready(SAXIHP1WREADY),
      .bid(SAXIHP1BID),
      .bresp(SAXIHP1BRESP),
      .bvalid(SAXIHP1BVALID),
      .bready(SAXIHP1BREADY)
  );
  assign SAXIHP1ARESETN = ~rst;
  assign SAXIHP1RACOUNT = 0;
  assign SAXIHP1WACOUNT = 0;
  assign SAXIHP1RCOUNT = 0;
  assign SAXIHP1WCOUNT = 0;
  ps7_port #(
      .NUMBER(2)
  ) hp2 (
      .clk(clk),
      .rst(rst),
      .latency_min(latency_min),
      .latency_max(latency_max),
      .write_latency_min(write_latency_min),
      .write_latency_max(write_latency_max),
      .stalls(stalls != 0),
      .seed(seed),
      .bad_address(bad_address),
      .may_read(read_ports[2]),
      .may_write(write_ports[2]),
      .read_taken(read_taken[2]),
      .read_new(read_new[6+:3]),
      .read_slot(read_slot[6+:3]),
      .read_beat(read_beat[8+:4]),
      .read_data(read_data[128+:64]),
      .write_taken(write_taken[2]),
      .write_new(write_new[8+:4]),
      .write_beat(write_beat[8+:4]),
      .write_address(write_address[64+:32]),
      .write_strobe(write_strobe[16+:8]),
      .answered(answered[2]),
      .answer_slot(answer_slot[8+:4]),
      .answer_last(answer_last[8+:4]),
      .broken(broken[2]),
      .araddr(SAXIHP2ARADDR),
      .arid(SAXIHP2ARID),
      .arlen(SAXIHP2ARLEN),
      .arsize(SAXIHP2ARSIZE),
      .arburst(SAXIHP2ARBURST),
      .arvalid(SAXIHP2ARVALID),
      .arready(SAXIHP2ARREADY),
      .rid(SAXIHP2RID),
      .rdata(SAXIHP2RDATA),
      .rresp(SAXIHP2RRESP),
      .rlast(SAXIHP2RLAST),
      .rvalid(SAXIHP2RVALID),
      .rready(SAXIHP2RREADY),
      .awaddr(SAXIHP2AWADDR),
      .awid(SAXIHP2AWID),
      .awlen(SAXIHP2AWLEN),
      .awsize(SAXIHP2AWSIZE),
      .awburst(SAXIHP2AWBURST),
      .awcache(SAXIHP2AWCACHE),
      .awvalid(SAXIHP2AWVALID),
      .awready(SAXIHP2AWREADY),
      .wid(SAXIHP2WID),
      .wdata(SAXIHP2WDATA),
      .wstrb(SAXIHP2WSTRB),
      .wlast(SAXIHP2WLAST),
      .wvalid(SAXIHP2WVALID),
      .wready(SAXIHP2WREADY),
      .bid(SAXIHP2BID),
      .bresp(SAXIHP2BRESP),
      .bvalid(SAXIHP2BVALID),
      .bready(SAXIHP2BREADY)
  );
  assign SAXIHP2ARESETN = ~rst;
  assign SAXIHP2RACOUNT = 0;
  assign SAXIHP2WACOUNT = 0;
  assign SAXIHP2RCOUNT = 0;
  assign SAXIHP2WCOUNT = 0;
  ps7_port #(
      .NUMBER(3)
  ) hp3 (
      .clk(clk),
      .rst(rst),
      .latency_min(latency_min),
      .latency_max(latency_max),
      .write_latency_min(write_latency_min),
      .write_latency_max(write_latency_max),
      .stalls(stalls != 0),
      .seed(seed),
      .bad_address(bad_address),
      .may_read(read_ports[3]),
      .may_write(write_ports[3]),
      .read_taken(read_taken[3]),
      .read_new(read_new[9+:3]),
      .read_slot(read_slot[9+:3]),
      .read_beat(read_beat[12+:4]),
      .read_data(read_data[192+:64]),
      .write_taken(write_taken[3]),
      .write_new(write_new[12+:4]),
      .write_beat(write_beat[12+:4]),
      .write_address(write_address[96+:32]),
      .write_strobe(write_strobe[24+:8]),
      .answered(answered[3]),
      .answer_slot(answer_slot[12+:4]),
      .answer_last(answer_last[12+:4]),
      .broken(broken[3]),
      .araddr(SAXIHP3ARADDR),
      .arid(SAXIHP3ARID),
      .arlen(SAXIHP3ARLEN),
      .arsize(SAXIHP3ARSIZE),
      .arburst(SAXIHP3ARBURST),
      .arvalid(SAXIHP3ARVALID),
      .arready(SAXIHP3ARREADY),
      .rid(SAXIHP3RID),
      .rdata(SAXIHP3RDATA),
      .rresp(SAXIHP3RRESP),
      .rlast(SAXIHP3RLAST),
      .rvalid(SAXIHP3RVALID),
      .rready(SAXIHP3RREADY),
      .awaddr(SAXIHP3AWADDR),
      .awid(SAXIHP3AWID),
      .awlen(SAXIHP3AWLEN),
      .awsize(SAXIHP3AWSIZE),
      .awburst(SAXIHP3AWBURST),
      .awcache(SAXIHP3AWCACHE),
      .awvalid(SAXIHP3AWVALID),
      .awready(SAXIHP3AWREADY),
      .wid(SAXIHP3WID),
      .wdata(SAXIHP3WDATA),
      .wstrb(SAXIHP3WSTRB),
      .wlast(SAXIHP3WLAST),
      .wvalid(SAXIHP3WVALID),
      .wready(SAXIHP3WREADY),
      .bid(SAXIHP3BID),
      .bresp(SAXIHP3BRESP),
      .bvalid(SAXIHP3BVALID),
      .bready(SAXIHP3BREADY)
  );
  assign SAXIHP3ARESETN = ~rst;
  assign SAXIHP3RACOUNT = 0;
  assign SAXIHP3WACOUNT = 0;
  assign SAXIHP3RCOUNT = 0;
  assign SAXIHP3WCOUNT = 0;
endmodule
