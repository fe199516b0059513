"""Pictures become a quantized network: training, adaptation, a search for bits, export as QONNX.

    in    pictures and masks, a folder or a CSV file; a TOML file or options
    out   checkpoints, curves, a QONNX file that `hwseg.quant.read` reads; scores of its exact integers

Read `run` first.

    run              the three stages of training, with checkpoints and resume
    config, losses, average, processes, checkpoint, plots
                     what a run is told, minimizes, averages, shares, keeps and shows
    crops, tensors   pictures and masks of `hwseg.datasets`, cropped and whole
    export           a trained network as a QONNX file
    executor         the Brevitas network as a referee
    evaluate, metrics
                     scores of the exact integers, with intervals
    dial             training with fewer digit planes
    adapt            low-rank changes of a frozen network, merged into integer weights
    search           bits of every layer against cycles or energy
"""
