"""The rules' second form: one SQL statement that judges a whole stretch of stored orders."""
