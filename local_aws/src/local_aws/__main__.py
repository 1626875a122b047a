from local_aws import launcher

launcher.main()
