//! Columnar files through the pipeline, compared with what a reader of the format finds in them.

mod parquet;
