// Memories that become block RAM: `test_netlist` gives them their shapes and compares each with its netlist.
module ram_sdp #(parameter WIDTH = 72, DEPTH = 512, BYTE = 9) (
    input clk, input [WIDTH/BYTE-1:0] write, input [$clog2(DEPTH)-1:0] to, input [WIDTH-1:0] in,
    input read, input [$clog2(DEPTH)-1:0] from, output reg [WIDTH-1:0] out
);
  (* ram_style = "block" *) reg [WIDTH-1:0] words [0:DEPTH-1];
  integer i;
  initial for (i = 0; i < DEPTH; i = i + 1) words[i] = {((WIDTH+31)/32){32'd2654435761 * i}};
  initial out = 0;
  always @(posedge clk) begin
    for (i = 0; i < WIDTH/BYTE; i = i + 1) if (write[i]) words[to][BYTE*i+:BYTE] <= in[BYTE*i+:BYTE];
    if (read) out <= words[from];
  end
endmodule

// One port that writes and reads: the new word where NEW, else the old one; a second one that reads.
module ram_tdp #(parameter WIDTH = 18, DEPTH = 1024, NEW = 0) (
    input clk, input write, input enable, input [$clog2(DEPTH)-1:0] at, input [WIDTH-1:0] in,
    output reg [WIDTH-1:0] out, input read, input [$clog2(DEPTH)-1:0] from, output reg [WIDTH-1:0] second
);
  (* ram_style = "block" *) reg [WIDTH-1:0] words [0:DEPTH-1];
  integer i;
  initial for (i = 0; i < DEPTH; i = i + 1) words[i] = 40503 * i;
  initial {out, second} = 0;
  always @(posedge clk) begin
    if (enable) begin
      if (write) words[at] <= in;
      out <= write && NEW ? in : words[at];
    end
    if (read) second <= words[from];
  end
endmodule
