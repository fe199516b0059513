// Models of the device's cells that the top level of a Zynq-7000 instantiates, for simulation only.
`timescale 1ns / 1ps
module BUFG (
    input  I,
    output O
);
  assign O = I;
endmodule

module FDPE #(
    parameter [0:0] INIT = 1'b1
) (
    input      C,
    input      CE,
    input      D,
    input      PRE,
    output reg Q
);
  initial Q = INIT;
  always @(posedge C or posedge PRE)
    if (PRE) Q <= 1'b1;
    else if (CE) Q <= D;
endmodule
