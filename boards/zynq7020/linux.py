"""What Linux on the board wants to know: a device-tree overlay and a udev rule, so that the driver needs no root."""

from __future__ import annotations

from hwseg.boards import Board
from hwseg.runtime.board import UIO_NAME

FIRST_SHARED = 32
"""Interrupt number of the first shared peripheral interrupt, from which a device tree counts."""
MEGABYTE = 1 << 20


def device_tree(board: Board, memory_bytes: int) -> str:
    """Registers with their interrupt as a UIO device, and a u-dma-buf of whole megabytes."""
    size = -(-memory_bytes // MEGABYTE) * MEGABYTE
    return f"""// dtc -@ -I dts -O dtb -o hwseg.dtbo hwseg.dts; docs/zynq7020.md says how to load it.
/dts-v1/;
/plugin/;

/ {{
    fragment@0 {{
        target-path = "/";
        __overlay__ {{
            #address-cells = <1>;
            #size-cells = <1>;

            // IRQF2P[0]: shared peripheral interrupt {board.ps.interrupt - FIRST_SHARED}, active high.
            {UIO_NAME}@{board.ps.registers:x} {{
                compatible = "generic-uio";
                reg = <{board.ps.registers:#x} 0x1000>;
                interrupt-parent = <&intc>;
                interrupts = <0 {board.ps.interrupt - FIRST_SHARED} 4>;
                linux,uio-name = "{UIO_NAME}";
            }};

            {UIO_NAME}_memory {{
                compatible = "ikwzm,u-dma-buf";
                device-name = "udmabuf0";
                size = <{size:#x}>;
            }};
        }};
    }};
}};
"""


def udev_rule() -> str:
    """The group `hwseg` may use the registers and the memory."""
    return (
        f'SUBSYSTEM=="uio", ATTR{{name}}=="{UIO_NAME}", GROUP="hwseg", MODE="0660"\n'
        'SUBSYSTEM=="u-dma-buf", GROUP="hwseg", MODE="0660", '
        'RUN+="/bin/chgrp hwseg /sys%p/sync_for_cpu /sys%p/sync_for_device", '
        'RUN+="/bin/chmod 0664 /sys%p/sync_for_cpu /sys%p/sync_for_device"\n'
    )
