"""The report of an evaluation: one page of HTML with its pictures, which loads nothing."""
