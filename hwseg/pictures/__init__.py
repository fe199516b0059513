"""Pictures: from a file to the integers that a network takes, and from a mask to a file, with one meaning throughout.

In: files of any of the formats below, or arrays.  Out: integers [H, W, C] of a graph's input; masks that can be seen
and read back.  Read `meaning` first.

NumPy alone, so that a board computes the same as a workstation:

    meaning   what pixel values are: `Meaning`, metadata `hwseg.input`
    labels    what a mask's values are: `Labels`, metadata `hwseg.labels`
    raster    one picture, its depth and what its values stand for; a file's pictures with their geometry
    table     from pixel to real number to integer, exactly
    fit       crop and resize
    prepare   all of these in their order

Files, with the libraries that are kept for them:

    read      any file as a `Picture`: Pillow, tifffile, imagecodecs, nibabel, pydicom, NumPy (`formats`)
    masks     a file as classes, by its `Labels`
    choice    the meaning that a command works with: declared in the file, chosen with --input, or assumed
    source    a picture, or the float tensor that a model takes, as the graph's integers
    draw      masks as PNG, outlines on pictures
"""
