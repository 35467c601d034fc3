typedef int net_empty; /* removed with the first real file */
