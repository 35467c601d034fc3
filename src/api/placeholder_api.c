typedef int api_empty; /* removed with the first real file */
