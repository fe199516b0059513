// Models of the device's cells that the top level of a Zynq-7000 instantiates, for simulation only.
`timescale 1ns / 1ps
module BUFG (
    input  I,
    output O
);
  assign O = I;
endmodule

module FDRE #(
    parameter [0:0] INIT = 1'b0
) (
    input      C,
    input      CE,
    input      D,
    input      R,
    output reg Q
);
  initial Q = INIT;
  always @(posedge C)
    if (R) Q <= 1'b0;
    else if (CE) Q <= D;
endmodule
