typedef int engine_empty; /* removed with the first real file */
