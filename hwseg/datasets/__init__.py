"""Pictures with their masks: found, looked at before they are used, and kept in the part that they began in.

In: a folder or a CSV file.  Out: `Pair`s by part, a `Survey` of what they hold with all that is wrong, and what a
network has seen.  Neither training nor PyTorch is needed here.  Read `pairs` first, then `look`.

    pairs            one picture with its mask, and parts of many
    data, csv_data   where they lie and what is declared of them
    faults           all that is wrong, not the first of it alone
    content          which picture it is, whatever its name: exactly, and nearly
    held             arrays in memory, or in a file that is mapped
    look, survey     every file opened once; what all of them together say
    sheet            a contact sheet
    split            which pictures a run began with, in which part
    seen             which pictures a model was trained on, in its metadata
"""
