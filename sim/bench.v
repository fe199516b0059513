// The bench around `hwseg`: DDR at its manager port, the registers' port for cocotb, and what the simulation observes.
//
//   layer_cycles   busy cycles by the layer in work; start-up (before the first compute instruction) in `startup`
//   +tap=FILE      every block of 8 channels x 8 pixels that leaves the requantizers: set, layer, 64 bytes (channel 7
//                  pixel 7 first), one line each
`timescale 1ns / 1ps
module bench #(
    parameter LOG2_WORDS = 21,
    parameter SETS = 1
) (
    input         clk /*verilator public_flat_rw*/,
    input         rst /*verilator public_flat_rw*/,
    input         load /*verilator public_flat_rw*/,
    input         finish /*verilator public_flat_rw*/,
    output        busy /*verilator public_flat_rw*/,
    output        interrupt /*verilator public_flat_rw*/,
    output        fault /*verilator public_flat_rw*/,
    input  [ 7:0] s_axi_awaddr /*verilator public_flat_rw*/,
    input  [ 2:0] s_axi_awprot /*verilator public_flat_rw*/,
    input         s_axi_awvalid /*verilator public_flat_rw*/,
    output        s_axi_awready /*verilator public_flat_rw*/,
    input  [31:0] s_axi_wdata /*verilator public_flat_rw*/,
    input  [ 3:0] s_axi_wstrb /*verilator public_flat_rw*/,
    input         s_axi_wvalid /*verilator public_flat_rw*/,
    output        s_axi_wready /*verilator public_flat_rw*/,
    output [ 1:0] s_axi_bresp /*verilator public_flat_rw*/,
    output        s_axi_bvalid /*verilator public_flat_rw*/,
    input         s_axi_bready /*verilator public_flat_rw*/,
    input  [ 7:0] s_axi_araddr /*verilator public_flat_rw*/,
    input  [ 2:0] s_axi_arprot /*verilator public_flat_rw*/,
    input         s_axi_arvalid /*verilator public_flat_rw*/,
    output        s_axi_arready /*verilator public_flat_rw*/,
    output [31:0] s_axi_rdata /*verilator public_flat_rw*/,
    output [ 1:0] s_axi_rresp /*verilator public_flat_rw*/,
    output        s_axi_rvalid /*verilator public_flat_rw*/,
    input         s_axi_rready /*verilator public_flat_rw*/
);
  wire [31:0] araddr, awaddr;
  wire [7:0] arlen, awlen;
  wire arvalid, arready, rlast, rvalid, rready, awvalid, awready, wlast, wvalid, wready, bvalid, bready;
  wire [63:0] rdata, wdata;
  wire [7:0] wstrb;
  wire [1:0] rresp, bresp;
  wire [7:0] layer  /*verilator public_flat_rd*/;
  wire [8*SETS-1:0] tap_layer;
  wire [SETS-1:0] tap_valid;
  wire [512*SETS-1:0] tap_data;

  hwseg dut (
      .clk(clk),
      .rst(rst),
      .s_axi_awaddr(s_axi_awaddr),
      .s_axi_awprot(s_axi_awprot),
      .s_axi_awvalid(s_axi_awvalid),
      .s_axi_awready(s_axi_awready),
      .s_axi_wdata(s_axi_wdata),
      .s_axi_wstrb(s_axi_wstrb),
      .s_axi_wvalid(s_axi_wvalid),
      .s_axi_wready(s_axi_wready),
      .s_axi_bresp(s_axi_bresp),
      .s_axi_bvalid(s_axi_bvalid),
      .s_axi_bready(s_axi_bready),
      .s_axi_araddr(s_axi_araddr),
      .s_axi_arprot(s_axi_arprot),
      .s_axi_arvalid(s_axi_arvalid),
      .s_axi_arready(s_axi_arready),
      .s_axi_rdata(s_axi_rdata),
      .s_axi_rresp(s_axi_rresp),
      .s_axi_rvalid(s_axi_rvalid),
      .s_axi_rready(s_axi_rready),
      .m_axi_araddr(araddr),
      .m_axi_arlen(arlen),
      .m_axi_arsize(),
      .m_axi_arburst(),
      .m_axi_arcache(),
      .m_axi_arprot(),
      .m_axi_arvalid(arvalid),
      .m_axi_arready(arready),
      .m_axi_rdata(rdata),
      .m_axi_rresp(rresp),
      .m_axi_rlast(rlast),
      .m_axi_rvalid(rvalid),
      .m_axi_rready(rready),
      .m_axi_awaddr(awaddr),
      .m_axi_awlen(awlen),
      .m_axi_awsize(),
      .m_axi_awburst(),
      .m_axi_awcache(),
      .m_axi_awprot(),
      .m_axi_awvalid(awvalid),
      .m_axi_awready(awready),
      .m_axi_wdata(wdata),
      .m_axi_wstrb(wstrb),
      .m_axi_wlast(wlast),
      .m_axi_wvalid(wvalid),
      .m_axi_wready(wready),
      .m_axi_bresp(bresp),
      .m_axi_bvalid(bvalid),
      .m_axi_bready(bready),
      .interrupt(interrupt),
      .busy(busy),
      .layer(layer),
      .tap_valid(tap_valid),
      .tap_layer(tap_layer),
      .tap_data(tap_data)
  );

  ddr #(
      .LOG2_WORDS(LOG2_WORDS)
  ) ddr (
      .clk(clk),
      .rst(rst),
      .load(load),
      .finish(finish),
      .araddr(araddr),
      .arlen(arlen),
      .arvalid(arvalid),
      .arready(arready),
      .rdata(rdata),
      .rresp(rresp),
      .rlast(rlast),
      .rvalid(rvalid),
      .rready(rready),
      .awaddr(awaddr),
      .awlen(awlen),
      .awvalid(awvalid),
      .awready(awready),
      .wdata(wdata),
      .wstrb(wstrb),
      .wlast(wlast),
      .wvalid(wvalid),
      .wready(wready),
      .bresp(bresp),
      .bvalid(bvalid),
      .bready(bready),
      .fault(fault)
  );

  // Cycles by layer.  The compute unit shows a layer from the cycle after it takes the layer's first instruction.
  reg [31:0] layer_cycles[0:255]  /*verilator public_flat_rd*/;
  reg [31:0] startup  /*verilator public_flat_rd*/;
  reg [63:0] total  /*verilator public_flat_rd*/;
  reg begun;
  wire taking = dut.compute_unit.instruction__valid && dut.compute_unit.instruction__ready;
  // Activity: bits that change, by layer, of the operands that enter the array's first row.
  reg [63:0] feed_toggles[0:255]  /*verilator public_flat_rd*/;
  wire [1023:0] feed = {512'b0, 512'b0} | dut.array.row_0.feed;
  reg [1023:0] feed_before;
  integer number, handle, set;
  reg [8*1024-1:0] name;
  initial begin
    handle = 0;
    if ($value$plusargs("tap=%s", name)) handle = $fopen(name, "w");
  end
  always @(posedge clk) begin
    if (rst) begin
      begun <= 0;
      startup <= 0;
      total <= 0;
      for (number = 0; number < 256; number = number + 1) layer_cycles[number] <= 0;
      for (number = 0; number < 256; number = number + 1) feed_toggles[number] <= 0;
    end else if (busy) begin
      total <= total + 1;
      if (taking) begun <= 1;
      if (!begun) startup <= startup + 1;
      else layer_cycles[layer] <= layer_cycles[layer] + 1;
      feed_toggles[layer] <= feed_toggles[layer] + 64'($countones(feed ^ feed_before));
    end
    feed_before <= feed;
    if (handle != 0)
      for (set = 0; set < SETS; set = set + 1)
        if (tap_valid[set]) $fdisplay(handle, "%0d %0d %x", set, tap_layer[8*set+:8], tap_data[512*set+:512]);
  end
  always @(posedge finish) if (handle != 0) $fclose(handle);
endmodule
