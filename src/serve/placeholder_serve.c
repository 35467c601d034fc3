typedef int serve_empty; /* removed with the first real file */
