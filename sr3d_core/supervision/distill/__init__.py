"""What a camera student learns from a point-cloud teacher (MonoSTL, arXiv 2603.07464).

    selection   which objects: where the student is unsure of the depth, where the teacher is right
    feature     DASFD: the teacher's features, on the rows that both have
    relation    DASRD: how alike the teacher finds two objects of a frame
    response    the teacher's scores and boxes
    conflict    whether features and labels pull the same way
    depth       how far away a pixel is; in every arm, also without a teacher

The paper's text was not to be had: what is written here follows its public code as the tests'
worked examples have it, under the name `literal`, and what indoor scenes need in its place.
"""
