from wherewhat.cli import main

main()
